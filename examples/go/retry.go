package main

import (
	"context"
	"math/rand"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	baseDelay = 200 * time.Millisecond
	maxDelay  = 15 * time.Second
	// So long calls may fail without any progress before the last failure is final.
	patience = 10 * time.Minute
)

// Failure is a status with its details.
type Failure struct {
	Code    codes.Code
	Message string
	// What a program may branch on; empty when the status is not the server's own.
	Reason string
	// Facts of this case, e.g. the scan_id of SCAN_RUNNING.
	Metadata map[string]string
	// When the server asks to be called again.
	RetryDelay time.Duration
}

// FailureOf reads a status; ok is false of errors that are none.
func FailureOf(err error) (failure Failure, ok bool) {
	answer, ok := status.FromError(err)
	if !ok {
		return Failure{}, false
	}
	failure = Failure{Code: answer.Code(), Message: answer.Message()}
	for _, detail := range answer.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			failure.Reason, failure.Metadata = detail.GetReason(), detail.GetMetadata()
		case *errdetails.RetryInfo:
			delay := detail.GetRetryDelay()
			failure.RetryDelay = time.Duration(delay.GetSeconds())*time.Second + time.Duration(delay.GetNanos())
		}
	}
	return failure, true
}

// IsRetryable tells whether the same call may succeed later.
func (f Failure) IsRetryable() bool {
	// The server says no to these however often they are sent.
	if f.Reason == "MESSAGE_TOO_LARGE" || f.Reason == "TOO_MANY_PROBLEMS" {
		return false
	}
	switch f.Code {
	case codes.Unavailable, codes.ResourceExhausted, codes.DeadlineExceeded:
		return true
	case codes.Internal, codes.Unknown, codes.Canceled:
		// Without a reason these are not the server's words, but a broken connection's or a proxy's.
		return f.Reason == ""
	}
	return false
}

// Retries waits between tries: a random time up to a bound that doubles, so that many clients do not come back at once.
type Retries struct {
	tries        int
	failingSince time.Time
}

// Progressed says that something got ahead: patience begins anew.
func (r *Retries) Progressed() {
	*r = Retries{}
}

// Wait returns nil when it is time to try again, and the error when it is final, patience is at its end, or ctx is done.
func (r *Retries) Wait(ctx context.Context, err error) error {
	failure, ok := FailureOf(err)
	if !ok || ctx.Err() != nil || !failure.IsRetryable() {
		return err
	}
	bound := maxDelay
	if r.tries < 6 {
		bound = baseDelay << r.tries
	}
	r.tries++
	delay := failure.RetryDelay + time.Duration(rand.Int63n(int64(bound)))
	if r.failingSince.IsZero() {
		r.failingSince = time.Now()
	}
	if time.Since(r.failingSince)+delay > patience {
		return err
	}
	select {
	case <-time.After(delay):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Run repeats a call that is safe to repeat until it succeeds.
func (r *Retries) Run(ctx context.Context, call func() error) error {
	for {
		err := call()
		if err == nil {
			return nil
		}
		if err := r.Wait(ctx, err); err != nil {
			return err
		}
	}
}
