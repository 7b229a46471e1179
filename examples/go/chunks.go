package main

import (
	"syscall"

	"google.golang.org/protobuf/types/known/timestamppb"

	pb "frostline.example/client/gen/frostlinev1"
)

const (
	chunkBytes = 256 * 1024
	// A record without its name: 36 bytes are usual, twice as many the worst.
	recordBytes = 42
)

// Chunker gathers whole directories up to 256 KiB, and cuts a larger one.
type Chunker struct {
	// Takes each chunk that is full; numbers are its business.
	Send func(*pb.Chunk) error
	// The last directory that is whole with the chunks so far.
	ResumeToken []byte

	chunk     *pb.Chunk
	sizeBytes int
}

// Add takes the next directory of the walk.
func (c *Chunker) Add(listing Listing) error {
	// No directory is cut that fits: what was sent before one that is still open is not committed until all of it has come.
	if c.chunk != nil && c.sizeBytes+sizeOf(listing) > chunkBytes {
		if err := c.Flush(); err != nil {
			return err
		}
	}
	directory := c.open(listing)
	for _, entry := range listing.Files {
		if c.sizeBytes >= chunkBytes && len(directory.Files)+len(directory.LeftOut) > 0 {
			directory.More = true
			if err := c.Flush(); err != nil {
				return err
			}
			directory = c.open(listing)
		}
		if entry.Info == nil {
			directory.LeftOut = append(directory.LeftOut, &pb.LeftOut{Name: []byte(entry.Name), Reason: entry.Reason})
		} else {
			directory.Files = append(directory.Files, record(entry))
		}
		c.sizeBytes += sizeOfEntry(entry)
	}
	directory.Complete = listing.UnreadableReason == ""
	directory.UnreadableReason = listing.UnreadableReason
	c.ResumeToken = []byte(listing.Path)
	if c.sizeBytes >= chunkBytes {
		return c.Flush()
	}
	return nil
}

// Flush sends what has been gathered, if anything.
func (c *Chunker) Flush() error {
	chunk := c.chunk
	if chunk == nil {
		return nil
	}
	c.chunk, c.sizeBytes = nil, 0
	chunk.ResumeToken = c.ResumeToken
	return c.Send(chunk)
}

func (c *Chunker) open(listing Listing) *pb.DirectoryListing {
	if c.chunk == nil {
		c.chunk = &pb.Chunk{}
	}
	directory := &pb.DirectoryListing{Path: []byte(listing.Path), ListTime: timestamppb.New(listing.ListTime)}
	c.chunk.Directories = append(c.chunk.Directories, directory)
	c.sizeBytes += recordBytes + len(listing.Path)
	return directory
}

func sizeOf(listing Listing) int {
	size := recordBytes + len(listing.Path)
	for _, entry := range listing.Files {
		size += sizeOfEntry(entry)
	}
	return size
}

func sizeOfEntry(entry Entry) int {
	return recordBytes + len(entry.Name) + len(entry.Reason)
}

// record reads what Linux keeps of a file. Its times are seconds and nanoseconds after them, so the seconds alone are rounded
// towards the past, as the contract wants it.
func record(entry Entry) *pb.FileRecord {
	attributes := entry.Info.Sys().(*syscall.Stat_t)
	mtime := attributes.Mtim.Sec
	frn, allocatedBytes := attributes.Ino, uint64(attributes.Blocks)*512
	return &pb.FileRecord{
		Name:             []byte(entry.Name),
		SizeBytes:        uint64(attributes.Size),
		MtimeUnix:        mtime,
		AtimeBeforeMtime: mtime - attributes.Atim.Sec,
		CtimeBeforeMtime: mtime - attributes.Ctim.Sec,
		Frn:              &frn,
		AllocatedBytes:   &allocatedBytes,
		LinkCount:        uint32(attributes.Nlink),
	}
}
