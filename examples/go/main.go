// A client of Frostline. It prints one JSON object, or one a line, in the field names of the contract.
//
// The key comes from FROSTLINE_KEY, never from an argument: other users of the machine see those.
// Exit status: 0 done, 1 failed, 2 wrong usage, 3 done with warnings.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	pb "frostline.example/client/gen/frostlinev1"
)

const usage = `usage: client [--server SERVER] [--ca FILE] COMMAND --share NAME ...

  scan --share NAME DIR        stream a full scan of a directory; scope agent
  audit --share NAME TRAIL     push what an audit trail has that is new; scope agent
  cursors --share NAME         how far all logs were read; scope reader or agent
  cursor --share NAME LOG      how far one log was read; scope reader or agent
  rule --share NAME --name NAME --expression CEL --target URI [--priority N]
                               put a rule for the share in force; scope operator
  preview --share NAME         what a plan would take; scope reader
  plan --share NAME            plan the share; scope operator

SERVER is host:port, or https://host:port; by default FROSTLINE_SERVER. The key is read from FROSTLINE_KEY.
`

// arguments are those of a command.
type arguments struct {
	share                    string
	name, expression, target string
	priority                 int
	// What is not an option: of scan, audit and cursor.
	rest string
}

type command func(context.Context, *Connection, arguments) (warnings bool, err error)

var commands = map[string]command{
	"scan": runScan, "audit": runAudit, "cursors": runCursors, "cursor": runCursor, "rule": runRule, "preview": runPreview, "plan": runPlan,
}

var takesRest = map[string]bool{"scan": true, "audit": true, "cursor": true}

func main() {
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	global := newFlags()
	server := global.String("server", orElse(os.Getenv("FROSTLINE_SERVER"), "127.0.0.1:50051"), "")
	caFile := global.String("ca", "", "")
	key := os.Getenv("FROSTLINE_KEY")
	if global.Parse(args) != nil || commands[global.Arg(0)] == nil {
		return wrongUsage("")
	}
	if key == "" {
		return wrongUsage("FROSTLINE_KEY is not set: it holds the API key or token.\n")
	}
	given, ok := parseCommand(global.Arg(0), global.Args()[1:])
	if !ok {
		return wrongUsage("")
	}
	connection, err := Connect(*server, key, *caFile)
	if err != nil {
		return failed(err)
	}
	defer connection.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	warnings, err := commands[global.Arg(0)](ctx, connection, given)
	if err != nil {
		return failed(err)
	}
	if warnings {
		return 3
	}
	return 0
}

func parseCommand(name string, args []string) (given arguments, ok bool) {
	flags := newFlags()
	flags.StringVar(&given.share, "share", "", "")
	if name == "rule" {
		flags.StringVar(&given.name, "name", "", "")
		flags.StringVar(&given.expression, "expression", "", "")
		flags.StringVar(&given.target, "target", "", "")
		flags.IntVar(&given.priority, "priority", 100, "")
	}
	if flags.Parse(args) != nil || given.share == "" {
		return given, false
	}
	given.rest = flags.Arg(0)
	return given, takesRest[name] == (flags.NArg() == 1) && flags.NArg() <= 1
}

func runScan(ctx context.Context, c *Connection, given arguments) (bool, error) {
	root, err := filepath.Abs(given.rest)
	if err != nil {
		return false, err
	}
	if err := EnsureShare(ctx, c, given.share, root); err != nil {
		return false, err
	}
	scan, err := RunScan(ctx, c, root, given.share)
	if err != nil {
		return false, err
	}
	if err := show(scan); err != nil || scan.Status != pb.ScanStatus_SCAN_STATUS_WARN {
		return false, err
	}
	problems, err := ProblemsOf(ctx, c, scan.ScanId)
	for _, problem := range problems {
		fmt.Fprintf(os.Stderr, "%s %s: %s\n", problem.DirPath, problem.Name, problem.Reason)
	}
	return true, err
}

func runAudit(ctx context.Context, c *Connection, given arguments) (bool, error) {
	counts, err := PushTrail(ctx, c, given.rest, given.share)
	if err != nil {
		return false, err
	}
	return counts.Refused > 0, show(counts)
}

func runCursors(ctx context.Context, c *Connection, given arguments) (bool, error) {
	cursors, err := ListCursors(ctx, c, given.share)
	for i := 0; err == nil && i < len(cursors); i++ {
		err = show(cursors[i])
	}
	return false, err
}

func runCursor(ctx context.Context, c *Connection, given arguments) (bool, error) {
	cursor, err := CursorOf(ctx, c, given.share, given.rest)
	if err != nil {
		return false, err
	}
	return false, show(cursor)
}

func runRule(ctx context.Context, c *Connection, given arguments) (bool, error) {
	answer, err := ApplyRule(ctx, c, &pb.RuleSpec{
		Name: given.name, Priority: int32(given.priority), ShareNames: []string{given.share}, Expression: given.expression, TargetUri: given.target,
	})
	if err != nil {
		return false, err
	}
	return false, show(answer)
}

func runPreview(ctx context.Context, c *Connection, given arguments) (bool, error) {
	answer, err := Preview(ctx, c, given.share)
	if err != nil {
		return false, err
	}
	return len(answer.Refusals) > 0, show(answer)
}

func runPlan(ctx context.Context, c *Connection, given arguments) (bool, error) {
	answer, err := Plan(ctx, c, given.share)
	if err != nil {
		return false, err
	}
	return false, show(answer)
}

func newFlags() *flag.FlagSet {
	flags := flag.NewFlagSet("client", flag.ContinueOnError)
	flags.Usage = func() {}
	return flags
}

func show(message proto.Message) error {
	text, err := protojson.Marshal(message)
	if err != nil {
		return err
	}
	_, err = fmt.Printf("%s\n", text)
	return err
}

func failed(err error) int {
	if failure, ok := FailureOf(err); ok {
		fmt.Fprintf(os.Stderr, "%s %s: %s\n", failure.Code, failure.Reason, failure.Message)
	} else {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

func wrongUsage(words string) int {
	fmt.Fprint(os.Stderr, words, usage)
	return 2
}

func orElse(text, otherwise string) string {
	if text != "" {
		return text
	}
	return otherwise
}
