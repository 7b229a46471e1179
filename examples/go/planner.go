package main

import (
	"context"
	"crypto/rand"
	"fmt"

	pb "frostline.example/client/gen/frostlinev1"
)

// ApplyRule puts one rule in force, beside the others. A rule that says the same already keeps its version.
func ApplyRule(ctx context.Context, c *Connection, spec *pb.RuleSpec) (answer *pb.ApplyRulesResponse, err error) {
	var retries Retries
	err = retries.Run(ctx, func() error {
		ctx, cancel := c.Call(ctx, callTimeout)
		defer cancel()
		answer, err = c.Rules.ApplyRules(ctx, &pb.ApplyRulesRequest{RuleSet: &pb.RuleSet{Rules: []*pb.RuleSpec{spec}}})
		return err
	})
	return answer, err
}

// Preview is what a plan would take and why not the rest. It changes nothing.
func Preview(ctx context.Context, c *Connection, shareName string) (answer *pb.PreviewResponse, err error) {
	var retries Retries
	err = retries.Run(ctx, func() error {
		ctx, cancel := c.Call(ctx, longTimeout)
		defer cancel()
		answer, err = c.Planner.Preview(ctx, &pb.PreviewRequest{ShareName: shareName})
		return err
	})
	return answer, err
}

// Plan plans the share. Every try has the same request_id: if an answer was lost, the next one has the plan that was made.
func Plan(ctx context.Context, c *Connection, shareName string) (answer *pb.PlanResponse, err error) {
	requestID, err := newUUID()
	if err != nil {
		return nil, err
	}
	var retries Retries
	err = retries.Run(ctx, func() error {
		ctx, cancel := c.Call(ctx, longTimeout)
		defer cancel()
		answer, err = c.Planner.Plan(ctx, &pb.PlanRequest{ShareName: shareName, RequestId: requestID})
		return err
	})
	return answer, err
}

// newUUID is a random one (version 4).
func newUUID() (string, error) {
	var bits [16]byte
	if _, err := rand.Read(bits[:]); err != nil {
		return "", err
	}
	bits[6] = bits[6]&0x0f | 0x40
	bits[8] = bits[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", bits[0:4], bits[4:6], bits[6:8], bits[8:10], bits[10:]), nil
}
