package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	pb "frostline.example/client/gen/frostlinev1"
)

// The end of a scan of millions of files takes minutes, and so does a plan; other calls take moments.
const (
	callTimeout = time.Minute
	longTimeout = 15 * time.Minute
)

// Connection has the services of one server. It connects at the first call.
type Connection struct {
	channel *grpc.ClientConn
	key     string

	Shares  pb.ShareServiceClient
	Scans   pb.ScanServiceClient
	Audits  pb.AuditServiceClient
	Rules   pb.RuleServiceClient
	Planner pb.PlannerServiceClient
}

// Connect takes a server as host:port in plaintext, or https://host:port with TLS; caFile then names whom to
// trust, in PEM, and is empty for the authorities that the system trusts.
func Connect(server, key, caFile string) (*Connection, error) {
	target := server
	security := grpc.WithInsecure()
	if strings.HasPrefix(server, "https://") {
		target = strings.TrimSuffix(strings.TrimPrefix(server, "https://"), "/")
		config, err := trust(caFile)
		if err != nil {
			return nil, err
		}
		security = grpc.WithTransportCredentials(credentials.NewTLS(config))
	}
	channel, err := grpc.Dial(target, security,
		grpc.WithDefaultCallOptions(grpc.ForceCodec(codec{})),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 20 * time.Second}))
	if err != nil {
		return nil, err
	}
	return &Connection{
		channel: channel,
		key:     key,
		Shares:  pb.NewShareServiceClient(channel),
		Scans:   pb.NewScanServiceClient(channel),
		Audits:  pb.NewAuditServiceClient(channel),
		Rules:   pb.NewRuleServiceClient(channel),
		Planner: pb.NewPlannerServiceClient(channel),
	}, nil
}

// Close ends every call that is still open.
func (c *Connection) Close() error {
	return c.channel.Close()
}

// Call is what every call is given: the key, and a deadline. 0 is for streams, which may take hours.
func (c *Connection) Call(ctx context.Context, timeout time.Duration) (context.Context, context.CancelFunc) {
	ctx = metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+c.key)
	if timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, timeout)
}

func trust(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(pem) {
		return nil, errors.New(caFile + " has no certificate in PEM")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, nil
}

// codec encodes with google.golang.org/protobuf. So does gRPC itself, since its version 1.36; that of Debian 12 is older,
// and what it would use instead does not know the messages that protoc-gen-go makes now.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(message interface{}) ([]byte, error) {
	return proto.Marshal(message.(proto.Message))
}

func (codec) Unmarshal(data []byte, message interface{}) error {
	return proto.Unmarshal(data, message.(proto.Message))
}
