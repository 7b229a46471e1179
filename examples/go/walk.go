package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What storage systems and Frostline keep beside the files.
var excluded = map[string]bool{
	".snapshot": true, "~snapshot": true, ".lucid_audit": true, ".frostline": true, "$RECYCLE.BIN": true, "System Volume Information": true,
}

// Listing is one directory: its own files, not those below its subdirectories.
type Listing struct {
	// From the share's root: "/", or "/a/b". Raw bytes, as names on disk are.
	Path     string
	ListTime time.Time
	Files    []Entry
	// Why the directory could not be read; empty when it was.
	UnreadableReason string
}

// Entry is a file, or one that could not be looked at: then Info is nil and Reason says why.
type Entry struct {
	Name   string
	Info   fs.FileInfo
	Reason string
}

// Walk shows every directory before its subdirectories, siblings in byte order, from the one that follows `after` in that order;
// all when it is empty. It ends with an error when the root cannot be read, or with the one that `show` returned.
func Walk(root, after string, show func(Listing) error) error {
	var done []string
	if after != "" {
		// Not nil, also of the root.
		done = append([]string{}, components(after)...)
	}
	return walkBelow(root, "/", done, show)
}

func walkBelow(root, path string, done []string, show func(Listing) error) error {
	listing, subdirectories, err := list(root, path)
	if err != nil {
		if path == "/" {
			return err
		}
		if errors.Is(err, fs.ErrNotExist) {
			// Gone since its parent was listed.
			return nil
		}
		listing = Listing{Path: path, ListTime: time.Now(), UnreadableReason: reasonOf(err)}
	}
	if done == nil || compare(components(path), done) > 0 {
		if err := show(listing); err != nil {
			return err
		}
	}
	for _, name := range subdirectories {
		below := strings.TrimSuffix(path, "/") + "/" + name
		// All of a directory that sorts before the position, and is not above it, was listed before.
		if parts := components(below); done != nil && compare(parts, done[:min(len(parts), len(done))]) < 0 {
			continue
		}
		if err := walkBelow(root, below, done, show); err != nil {
			return err
		}
	}
	return nil
}

func list(root, path string) (Listing, []string, error) {
	listing := Listing{Path: path, ListTime: time.Now()}
	var subdirectories []string
	// In the order of names, as bytes.
	entries, err := os.ReadDir(filepath.Join(root, path))
	if err != nil {
		return listing, nil, err
	}
	for _, entry := range entries {
		if excluded[entry.Name()] {
			continue
		}
		info, err := entry.Info()
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			listing.Files = append(listing.Files, Entry{Name: entry.Name(), Reason: reasonOf(err)})
		case info.IsDir():
			subdirectories = append(subdirectories, entry.Name())
		case info.Mode().IsRegular():
			listing.Files = append(listing.Files, Entry{Name: entry.Name(), Info: info})
		}
	}
	return listing, subdirectories, nil
}

// reasonOf leaves out the path, which is told beside it.
func reasonOf(err error) string {
	var onPath *fs.PathError
	if errors.As(err, &onPath) {
		return onPath.Err.Error()
	}
	return err.Error()
}

func components(path string) []string {
	return strings.FieldsFunc(path, func(character rune) bool { return character == '/' })
}

// compare is by component, not by text: "/a!" sorts before "/a/b" as text, but is listed after it.
func compare(a, b []string) int {
	for i := 0; i < len(a) && i < len(b); i++ {
		if order := strings.Compare(a[i], b[i]); order != 0 {
			return order
		}
	}
	return len(a) - len(b)
}

func min(a, b int) int {
	if a < b {
		return a
	}
	return b
}
