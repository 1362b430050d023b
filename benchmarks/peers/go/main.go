// A consumer with the library harlow/kinesis-consumer: typed events from encoding/json, one file.
//
// It keeps its checkpoints in memory and ends after -events events.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	consumer "github.com/harlow/kinesis-consumer"
)

const typePrefix = "com.twilio.voice.api-request.call."

// rfc2822 is a date such as "Mon, 23 Nov 2026 09:15:42 +0000".
type rfc2822 struct{ time.Time }

func (date *rfc2822) UnmarshalJSON(text []byte) (err error) {
	date.Time, err = time.Parse(`"`+time.RFC1123Z+`"`, string(text))
	return err
}

type request struct {
	Method     string         `json:"method"`
	URL        string         `json:"url"`
	Parameters map[string]any `json:"parameters"`
}

type response struct {
	ResponseCode    int      `json:"responseCode"`
	RequestDuration *int     `json:"requestDuration"`
	ContentType     *string  `json:"contentType"`
	ResponseBody    *string  `json:"responseBody"`
	DateCreated     *rfc2822 `json:"dateCreated"`
}

type payload struct {
	Sid                string    `json:"sid"`
	RequestDateCreated *rfc2822  `json:"requestDateCreated"`
	Timestamp          time.Time `json:"timestamp"`
	EventSid           string    `json:"eventSid"`
	Request            *request  `json:"request"`
	Response           *response `json:"response"`
}

type event struct {
	Specversion     string    `json:"specversion"`
	Type            string    `json:"type"`
	Source          string    `json:"source"`
	ID              string    `json:"id"`
	Dataschema      string    `json:"dataschema"`
	Datacontenttype string    `json:"datacontenttype"`
	Time            time.Time `json:"time"`
	Data            *payload  `json:"data"`
}

func (found *event) complete() bool {
	if found.ID == "" || found.Source == "" || found.Time.IsZero() || found.Data == nil {
		return false
	}
	data := found.Data
	return strings.HasPrefix(found.Type, typePrefix) && data.Sid != "" && data.Request != nil && data.Response != nil
}

type row struct {
	EventID         string         `json:"event_id"`
	EventSource     string         `json:"event_source"`
	EventType       string         `json:"event_type"`
	EventTime       time.Time      `json:"event_time"`
	CallSid         string         `json:"call_sid"`
	WebhookEventSid string         `json:"webhook_event_sid"`
	OccurredAt      time.Time      `json:"occurred_at"`
	RequestedAt     *rfc2822       `json:"requested_at"`
	RespondedAt     *rfc2822       `json:"responded_at"`
	Method          string         `json:"method"`
	URL             string         `json:"url"`
	Parameters      map[string]any `json:"parameters"`
	Status          int            `json:"status"`
	DurationMs      *int           `json:"duration_ms"`
	ContentType     *string        `json:"content_type"`
	Body            *string        `json:"body"`
}

func decodeBody(encoded *string) (*string, error) {
	if encoded == nil {
		return nil, nil
	}
	decoded, err := base64.StdEncoding.DecodeString(*encoded)
	text := string(decoded)
	return &text, err
}

// encode returns the row of an event as JSON.
func encode(data []byte) ([]byte, error) {
	var found event
	if err := json.Unmarshal(data, &found); err != nil {
		return nil, err
	}
	if !found.complete() {
		return nil, errors.New("a field is missing")
	}
	inner, reply := found.Data, found.Data.Response
	body, err := decodeBody(reply.ResponseBody)
	if err != nil {
		return nil, err
	}
	return json.Marshal(row{
		EventID: found.ID, EventSource: found.Source, EventType: found.Type, EventTime: found.Time,
		CallSid: inner.Sid, WebhookEventSid: inner.EventSid, OccurredAt: inner.Timestamp,
		RequestedAt: inner.RequestDateCreated, RespondedAt: reply.DateCreated,
		Method: inner.Request.Method, URL: inner.Request.URL, Parameters: inner.Request.Parameters,
		Status: reply.ResponseCode, DurationMs: reply.RequestDuration, ContentType: reply.ContentType, Body: body,
	})
}

// checkpoints are kept in memory.
type checkpoints struct{ sync.Map }

func (store *checkpoints) GetCheckpoint(_, shard string) (string, error) {
	found, _ := store.Load(shard)
	sequence, _ := found.(string)
	return sequence, nil
}

func (store *checkpoints) SetCheckpoint(_, shard, sequence string) error {
	store.Store(shard, sequence)
	return nil
}

// writer writes rows of all shards to one file, and calls done after the last one.
type writer struct {
	sync.Mutex
	file *bufio.Writer
	left int
	done func()
}

func (out *writer) take(record *consumer.Record) error {
	line, err := encode(record.Data)
	if err != nil {
		return err
	}
	out.Lock()
	defer out.Unlock()
	out.file.Write(line)
	out.file.WriteByte('\n')
	if out.left--; out.left == 0 {
		out.done()
	}
	return nil
}

func main() {
	stream := flag.String("stream", "", "name of the stream")
	url := flag.String("endpoint-url", "", "endpoint of Kinesis")
	directory := flag.String("directory", ".", "where rows.jsonl goes")
	events := flag.Int("events", 0, "events to read")
	aggregated := flag.Bool("aggregated", false, "records are KPL aggregates")
	flag.Parse()
	client := kinesis.New(kinesis.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(*url),
		Credentials: credentials.NewStaticCredentialsProvider("bench", "bench", ""),
	})
	file, err := os.Create(filepath.Join(*directory, "rows.jsonl"))
	if err != nil {
		log.Fatal(err)
	}
	reader, err := consumer.New(*stream, consumer.WithClient(client), consumer.WithStore(&checkpoints{}),
		consumer.WithShardIteratorType("TRIM_HORIZON"), consumer.WithScanInterval(time.Millisecond),
		consumer.WithAggregation(*aggregated))
	if err != nil {
		log.Fatal(err)
	}
	context, cancel := context.WithCancel(context.Background())
	out := &writer{file: bufio.NewWriterSize(file, 1<<20), left: *events, done: cancel}
	if err := reader.Scan(context, out.take); err != nil && context.Err() == nil {
		log.Fatal(err)
	}
	if err := out.file.Flush(); err != nil {
		log.Fatal(err)
	}
}
