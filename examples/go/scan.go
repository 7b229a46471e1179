package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "frostline.example/client/gen/frostlinev1"
)

const writer = "main"

// EnsureShare makes the share when there is none of that name.
func EnsureShare(ctx context.Context, c *Connection, shareName, sourceRoot string) error {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	_, err := c.Shares.CreateShare(ctx, &pb.CreateShareRequest{
		ShareName: shareName, SourceType: pb.SourceType_SOURCE_TYPE_LUCIDLINK, SourceRoot: sourceRoot,
	})
	if status.Code(err) == codes.AlreadyExists {
		return nil
	}
	return err
}

// RunScan scans all of root, or goes on with the unfinished scan of the share, through lost connections and restarts of
// either side. Its error is a status once a failure is final.
func RunScan(ctx context.Context, c *Connection, root, shareName string) (*pb.Scan, error) {
	var retries Retries
	var scanID int64
	err := retries.Run(ctx, func() (err error) {
		scanID, err = startOrResume(ctx, c, shareName)
		return err
	})
	if err != nil {
		return nil, err
	}
	if err := pushAll(ctx, c, root, scanID, &retries); err != nil {
		return nil, err
	}
	var scan *pb.Scan
	err = retries.Run(ctx, func() (err error) {
		scan, err = finish(ctx, c, scanID)
		return err
	})
	return scan, err
}

// ProblemsOf is what the scan refused or could not read; the first 1,000.
func ProblemsOf(ctx context.Context, c *Connection, scanID int64) ([]*pb.ScanProblem, error) {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	answer, err := c.Scans.ListScanProblems(ctx, &pb.ListScanProblemsRequest{ScanId: scanID, PageSize: 1000})
	return answer.GetProblems(), err
}

func startOrResume(ctx context.Context, c *Connection, shareName string) (int64, error) {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	answer, err := c.Scans.StartScan(ctx, &pb.StartScanRequest{
		ShareName: shareName, Mode: pb.ScanMode_SCAN_MODE_FULL, ExactListTimes: true,
	})
	// Ours, from before; or the answer to the first StartScan was lost.
	if failure, ok := FailureOf(err); ok && failure.Reason == "SCAN_RUNNING" {
		return strconv.ParseInt(failure.Metadata["scan_id"], 10, 64)
	}
	return answer.GetScan().GetScanId(), err
}

// pushAll opens one stream after the other until one has carried the walk to its end.
func pushAll(ctx context.Context, c *Connection, root string, scanID int64, retries *Retries) error {
	furthest, gapAt := int64(-1), int64(-2)
	for {
		position, err := positionOf(ctx, c, scanID)
		if err == nil && position == nil {
			return nil
		}
		if err == nil {
			if position.NextChunkNo > furthest {
				furthest = position.NextChunkNo
				retries.Progressed()
			}
			err = push(ctx, c, root, scanID, position)
		}
		switch {
		case err == nil:
			return nil
		case status.Code(err) == codes.OutOfRange && gapAt != furthest:
			// The server expects another number by now: ask it again. Told so twice at one place, something is wrong.
			gapAt = furthest
		default:
			if err := retries.Wait(ctx, err); err != nil {
				return err
			}
		}
	}
}

// positionOf is where the server says to go on; nil when it takes no more chunks, because an earlier run asked to finish.
func positionOf(ctx context.Context, c *Connection, scanID int64) (*pb.WriterPosition, error) {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	answer, err := c.Scans.GetScan(ctx, &pb.GetScanRequest{ScanId: scanID})
	if err != nil {
		return nil, err
	}
	if answer.Scan.Status != pb.ScanStatus_SCAN_STATUS_RUNNING {
		return nil, fmt.Errorf("scan %d was ended by someone else: it is %s; scan again", scanID, answer.Scan.Status)
	}
	if answer.Scan.Finishing {
		return nil, nil
	}
	for _, position := range answer.Writers {
		if position.Writer == writer {
			return position, nil
		}
	}
	return &pb.WriterPosition{Writer: writer}, nil
}

// push is one stream, from a position to the end of the walk. Send waits while the server takes nothing more.
func push(ctx context.Context, c *Connection, root string, scanID int64, position *pb.WriterPosition) error {
	ctx, cancel := c.Call(ctx, 0)
	defer cancel()
	stream, err := c.Scans.PushScan(ctx)
	if err != nil {
		return err
	}
	chunkNo := position.NextChunkNo
	err = stream.Send(&pb.PushScanRequest{Message: &pb.PushScanRequest_Open_{
		Open: &pb.PushScanRequest_Open{ScanId: scanID, Writer: writer, NextChunkNo: &position.NextChunkNo},
	}})
	chunker := Chunker{ResumeToken: position.ResumeToken, Send: func(chunk *pb.Chunk) error {
		chunk.ChunkNo = chunkNo
		chunkNo++
		return stream.Send(&pb.PushScanRequest{Message: &pb.PushScanRequest_Chunk{Chunk: chunk}})
	}}
	if err == nil {
		err = Walk(root, string(position.ResumeToken), chunker.Add)
	}
	if err == nil {
		err = chunker.Flush()
	}
	// The server ended the call: Send only says that it did, the answer says why.
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, err = stream.CloseAndRecv()
	return err
}

func finish(ctx context.Context, c *Connection, scanID int64) (*pb.Scan, error) {
	ctx, cancel := c.Call(ctx, longTimeout)
	defer cancel()
	answer, err := c.Scans.GetScan(ctx, &pb.GetScanRequest{ScanId: scanID})
	if err != nil {
		return nil, err
	}
	chunks := map[string]int64{}
	for _, position := range answer.Writers {
		chunks[position.Writer] = position.NextChunkNo
	}
	finished, err := c.Scans.FinishScan(ctx, &pb.FinishScanRequest{ScanId: scanID, Chunks: chunks})
	return finished.GetScan(), err
}
