package main

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "frostline.example/client/gen/frostlinev1"
)

// PushTrail pushes what the trail has beyond its cursors, each event once: the server keeps how far every log was read, the
// client keeps nothing. Returns where the events of the last stream went.
func PushTrail(ctx context.Context, c *Connection, trail, shareName string) (*pb.AuditCounts, error) {
	logs, err := FindLogs(trail)
	if err != nil {
		return nil, err
	}
	volumeID, err := FindVolume(logs)
	if err != nil {
		return nil, err
	}
	var retries Retries
	furthest, gapAt := int64(-1), int64(-2)
	for {
		var counts *pb.AuditCounts
		// A stream that broke has committed some of its batches: the cursors say which.
		cursors, err := ListCursors(ctx, c, shareName)
		if err == nil {
			if position := sumOf(cursors); position > furthest {
				furthest = position
				retries.Progressed()
			}
			counts, err = pushLogs(ctx, c, logs, shareName, volumeID, cursors)
		}
		switch {
		case err == nil:
			return counts, nil
		case status.Code(err) == codes.OutOfRange && gapAt != furthest:
			// A cursor was set back meanwhile: ask for them again. Told so twice at one place, something is wrong.
			gapAt = furthest
		default:
			if err := retries.Wait(ctx, err); err != nil {
				return nil, err
			}
		}
	}
}

func sumOf(cursors []*pb.AuditCursor) int64 {
	sum := int64(0)
	for _, cursor := range cursors {
		sum += cursor.Position
	}
	return sum
}

// CursorOf is how far a log was read; NOT_FOUND when nothing of it was.
func CursorOf(ctx context.Context, c *Connection, shareName, auditFilePath string) (*pb.AuditCursor, error) {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	answer, err := c.Audits.GetAuditCursor(ctx, &pb.GetAuditCursorRequest{ShareName: shareName, AuditFilePath: auditFilePath})
	return answer.GetCursor(), err
}

// ListCursors is how far every log was read, gathered page by page.
func ListCursors(ctx context.Context, c *Connection, shareName string) ([]*pb.AuditCursor, error) {
	ctx, cancel := c.Call(ctx, callTimeout)
	defer cancel()
	var cursors []*pb.AuditCursor
	request := &pb.ListAuditCursorsRequest{ShareName: shareName}
	for {
		answer, err := c.Audits.ListAuditCursors(ctx, request)
		if err != nil {
			return nil, err
		}
		cursors = append(cursors, answer.Cursors...)
		if answer.NextPageToken == "" {
			return cursors, nil
		}
		request.PageToken = answer.NextPageToken
	}
}

// pushLogs is one stream, from the cursors to the ends of the logs.
func pushLogs(
	ctx context.Context, c *Connection, logs []Log, shareName, volumeID string, listed []*pb.AuditCursor,
) (*pb.AuditCounts, error) {
	cursors := map[string]*pb.AuditCursor{}
	for _, cursor := range listed {
		cursors[cursor.AuditFilePath] = cursor
	}
	ctx, cancel := c.Call(ctx, 0)
	defer cancel()
	stream, err := c.Audits.PushAudit(ctx)
	if err != nil {
		return nil, err
	}
	err = stream.Send(&pb.PushAuditRequest{Message: &pb.PushAuditRequest_Open_{
		Open: &pb.PushAuditRequest_Open{ShareName: shareName, VolumeId: volumeID},
	}})
	for i := 0; err == nil && i < len(logs); i++ {
		err = ReadBatches(logs[i], cursors[logs[i].AuditFilePath], volumeID, func(batch *pb.AuditBatch) error {
			return stream.Send(&pb.PushAuditRequest{Message: &pb.PushAuditRequest_Batch{Batch: batch}})
		})
	}
	// The server ended the call: Send only says that it did, the answer says why.
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	answer, err := stream.CloseAndRecv()
	return answer.GetCounts(), err
}
