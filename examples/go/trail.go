package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"

	pb "frostline.example/client/gen/frostlinev1"
)

const (
	batchBytes = 256 * 1024
	// What a log is called while it is written to; it is renamed later, and stays the same log.
	openSuffix = ".active"
)

var actions = map[string]pb.AuditAction{
	"FileRead":        pb.AuditAction_AUDIT_ACTION_READ,
	"PreHydrate":      pb.AuditAction_AUDIT_ACTION_PREFETCH,
	"FileWritten":     pb.AuditAction_AUDIT_ACTION_WRITE,
	"FileCreate":      pb.AuditAction_AUDIT_ACTION_CREATE_FILE,
	"DirectoryCreate": pb.AuditAction_AUDIT_ACTION_CREATE_DIRECTORY,
	"Move":            pb.AuditAction_AUDIT_ACTION_MOVE,
	"FileDelete":      pb.AuditAction_AUDIT_ACTION_DELETE_FILE,
	"DirectoryDelete": pb.AuditAction_AUDIT_ACTION_DELETE_DIRECTORY,
}

// Who reads or writes there is an agent or a mover, and nobody uses a file of the share.
var ownDirectories = []string{"/.lucid_audit", "/.frostline"}

// Log is one of the trail, as it is on disk and as the server knows it.
type Log struct {
	DiskPath string
	// From the trail's root, the same before and after it is renamed.
	AuditFilePath string
}

// line is what LucidLink writes, as far as it is of use here.
type line struct {
	Timestamp int64 `json:"timestamp"`
	User      struct {
		Name string `json:"name"`
	} `json:"user"`
	Device struct {
		HostName string `json:"hostName"`
	} `json:"device"`
	Event struct {
		NodeID        string `json:"nodeId"`
		FilespaceUUID string `json:"filespaceUuid"`
	} `json:"event"`
	Operation struct {
		Action     string `json:"action"`
		EntryPath  string `json:"entryPath"`
		TargetPath string `json:"targetPath"`
	} `json:"operation"`
}

// FindLogs has all logs below the trail's root, oldest names first.
func FindLogs(trail string) ([]Log, error) {
	var logs []Log
	err := filepath.WalkDir(trail, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(strings.TrimSuffix(path, openSuffix), ".log") {
			return err
		}
		relative, err := filepath.Rel(trail, path)
		logs = append(logs, Log{path, strings.TrimSuffix(filepath.ToSlash(relative), openSuffix)})
		return err
	})
	sort.Slice(logs, func(i, j int) bool { return logs[i].AuditFilePath < logs[j].AuditFilePath })
	return logs, err
}

// errFound ends the reading of lines.
var errFound = errors.New("found")

// FindVolume is the identity that the first line with one gives the filespace; empty when no line does.
func FindVolume(logs []Log) (string, error) {
	for _, log := range logs {
		volumeID := ""
		err := readLines(log, 0, func(text []byte) error {
			if _, volumeID = parse(text); volumeID != "" {
				return errFound
			}
			return nil
		})
		if err != nil && !errors.Is(err, errFound) {
			return "", err
		}
		if volumeID != "" {
			return volumeID, nil
		}
	}
	return "", nil
}

// ReadBatches shows what the log has beyond the cursor, in whole lines: the last one may not be written to its end yet.
func ReadBatches(log Log, cursor *pb.AuditCursor, volumeID string, show func(*pb.AuditBatch) error) error {
	fingerprint, sizeBytes, err := head(log)
	if err != nil || fingerprint == nil {
		return err
	}
	// Another first line: another file under the old name, which the server then begins anew.
	start, restarted := int64(0), false
	if cursor != nil && bytes.Equal(cursor.HeadFingerprint, fingerprint) {
		start, restarted = cursor.Position, cursor.Position > sizeBytes
	}
	if restarted {
		start = 0
	}
	newBatch := func() *pb.AuditBatch {
		return &pb.AuditBatch{
			AuditFilePath: log.AuditFilePath, HeadFingerprint: fingerprint, StartOffset: start, EndOffset: start, Restarted: restarted,
		}
	}
	batch := newBatch()
	err = readLines(log, start, func(text []byte) error {
		batch.Events = append(batch.Events, eventOf(text, start, volumeID))
		start += int64(len(text))
		batch.EndOffset = start
		if batch.EndOffset-batch.StartOffset < batchBytes {
			return nil
		}
		full := batch
		restarted = false
		batch = newBatch()
		return show(full)
	})
	if err != nil || len(batch.Events) == 0 {
		return err
	}
	return show(batch)
}

// head is the digest of the first line, nil while that is not whole, and how long the log is.
func head(log Log) ([]byte, int64, error) {
	file, err := os.Open(log.DiskPath)
	if err != nil {
		return nil, 0, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, 0, err
	}
	first, err := bufio.NewReader(file).ReadBytes('\n')
	if errors.Is(err, io.EOF) {
		return nil, info.Size(), nil
	}
	digest := sha256.Sum256(first)
	return digest[:], info.Size(), err
}

// readLines shows the whole lines from a byte on, each with its end.
func readLines(log Log, from int64, show func([]byte) error) error {
	file, err := os.Open(log.DiskPath)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(from, io.SeekStart); err != nil {
		return err
	}
	reader := bufio.NewReader(file)
	for {
		text, err := reader.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := show(text); err != nil {
			return err
		}
	}
}

func eventOf(text []byte, offset int64, volumeID string) *pb.AuditEvent {
	event, volumeOfLine := parse(text)
	if volumeOfLine != "" && volumeOfLine != volumeID {
		event = &pb.AuditEvent{RefusedReason: "the event is of filespace " + volumeOfLine}
	}
	event.Offset = offset
	return event
}

// actionOf is 0, unspecified, for what changes nothing in the inventory: it is counted as ignored.
func actionOf(name, path string) pb.AuditAction {
	for _, own := range ownDirectories {
		if path == own || strings.HasPrefix(path, own+"/") {
			return pb.AuditAction_AUDIT_ACTION_UNSPECIFIED
		}
	}
	return actions[name]
}

// parse reads a line, and the filespace that it names. Of a line that cannot be read, the event says so.
func parse(text []byte) (*pb.AuditEvent, string) {
	var read line
	if err := json.Unmarshal(text, &read); err != nil {
		return &pb.AuditEvent{RefusedReason: "the line is no JSON of the form that is known"}, ""
	}
	if read.Timestamp == 0 || read.Operation.Action == "" || read.Operation.EntryPath == "" {
		return &pb.AuditEvent{RefusedReason: "the line lacks timestamp, action or entryPath"}, ""
	}
	return &pb.AuditEvent{
		TimeMicros: read.Timestamp,
		Action:     actionOf(read.Operation.Action, read.Operation.EntryPath),
		Path:       read.Operation.EntryPath,
		TargetPath: read.Operation.TargetPath,
		User:       read.User.Name,
		Host:       read.Device.HostName,
		Node:       read.Event.NodeID,
		ActionName: read.Operation.Action,
	}, read.Event.FilespaceUUID
}
