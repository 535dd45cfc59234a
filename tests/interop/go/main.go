// SPDX-License-Identifier: Apache-2.0

// Drives the unmodified Go client: interop HOST:PORT PREFIX.
//
// Prints, like the Java cases, `case NAME: what came of it` and `ok - NAME` or `not ok - NAME: why`.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
)

const (
	messages = 10000
	queues   = 4
	senders  = 8
	deadline = 60 * time.Second
)

type servers struct {
	namesrv []string
	prefix  string
}

// inbox counts the messages that a consumer gets, by number.
type inbox struct {
	sync.Mutex
	count [messages]int
	last  [messages]string // where it was, to tell what was stored twice from what was delivered twice
	total int
	wrong string
}

func (in *inbox) add(m *primitive.MessageExt) {
	var n int

	in.Lock()
	defer in.Unlock()
	if _, err := fmt.Sscanf(string(m.Body), "go %d", &n); err != nil || n < 0 || n >= messages {
		in.wrong = fmt.Sprintf("body %q", m.Body)
		return
	}
	if m.GetTags() != "go" || m.GetKeys() != fmt.Sprintf("key-%d", n) {
		in.wrong = fmt.Sprintf("message %d has tag %q and key %q", n, m.GetTags(), m.GetKeys())
	}
	place := fmt.Sprintf("offset %d of queue %d", m.QueueOffset, m.Queue.QueueId)
	if in.count[n]++; in.count[n] > 1 && in.wrong == "" {
		in.wrong = fmt.Sprintf("message %d came twice: %s, %s", n, in.last[n], place)
	}
	in.last[n] = place
	in.total++
}

func (in *inbox) seen() int {
	in.Lock()
	defer in.Unlock()
	return in.total
}

func (in *inbox) exactlyOnce() error {
	in.Lock()
	defer in.Unlock()
	if in.wrong != "" {
		return fmt.Errorf("%s", in.wrong)
	}
	for n, c := range in.count {
		if c != 1 {
			return fmt.Errorf("message %d came %d times", n, c)
		}
	}
	return nil
}

func (s servers) createTopic(topic string) error {
	a, err := admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(s.namesrv)))
	if err != nil {
		return err
	}
	defer a.Close()
	broker := os.Getenv("INTEROP_BROKER")
	return a.CreateTopic(context.Background(), admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
		admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
}

func (s servers) send(topic string) error {
	p, err := rocketmq.NewProducer(producer.WithNsResolver(primitive.NewPassthroughResolver(s.namesrv)),
		producer.WithGroupName(s.prefix+"-producers"), producer.WithInstanceName("producer"))
	if err != nil {
		return err
	}
	if err := p.Start(); err != nil {
		return err
	}
	defer p.Shutdown()

	sendOne := func(n int) error {
		m := primitive.NewMessage(topic, []byte(fmt.Sprintf("go %d", n)))
		m.WithTag("go").WithKeys([]string{fmt.Sprintf("key-%d", n)})
		r, err := p.SendSync(context.Background(), m)
		if err == nil && r.Status != primitive.SendOK {
			err = fmt.Errorf("send status is %d", r.Status)
		}
		if err != nil {
			err = fmt.Errorf("message %d: %w", n, err)
		}
		return err
	}
	// The first is sent alone: this client shows a topic's queues to its senders before it notes where the broker is, and whoever
	// comes in between is told at once that there is no route.
	if err := sendOne(0); err != nil {
		return err
	}
	errs := make(chan error, senders)
	for i := 0; i < senders; i++ {
		go func(n int) {
			var err error
			for ; n < messages && err == nil; n += senders {
				err = sendOne(n)
			}
			errs <- err
		}(1 + i)
	}
	for i := 0; i < senders; i++ {
		if err := <-errs; err != nil {
			return err
		}
	}
	return nil
}

// consume starts a consumer of the group and stops it when `wanted` messages came.
func (s servers) consume(topic, instance string, expression string, wanted int, in *inbox) error {
	c, err := rocketmq.NewPushConsumer(consumer.WithNsResolver(primitive.NewPassthroughResolver(s.namesrv)),
		consumer.WithGroupName(s.prefix+"-consumers-"+instance), consumer.WithInstance(instance),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset))
	if err != nil {
		return err
	}
	handle := func(_ context.Context, ms ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range ms {
			in.add(m)
		}
		return consumer.ConsumeSuccess, nil
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: expression}, handle); err != nil {
		return err
	}
	if err := c.Start(); err != nil {
		return err
	}
	defer c.Shutdown()

	for end := time.Now().Add(deadline); in.seen() < wanted; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d messages after %s", in.seen(), wanted, deadline)
		}
	}
	return nil
}

func (s servers) everyMessage() (string, error) {
	var all, tagged inbox
	topic := s.prefix + "-volume"

	if err := s.createTopic(topic); err != nil {
		return "", err
	}
	if err := s.send(topic); err != nil {
		return "", err
	}
	if err := s.consume(topic, "all", "*", messages, &all); err != nil {
		return "", err
	}
	if err := all.exactlyOnce(); err != nil {
		return "", err
	}
	if err := s.consume(topic, "tagged", "none || go", messages, &tagged); err != nil {
		return "", err
	}
	if err := tagged.exactlyOnce(); err != nil {
		return "", fmt.Errorf("by tag: %w", err)
	}
	return fmt.Sprintf("sent %d, consumed %d, by tag %d", messages, all.total, tagged.total), nil
}

type goCase struct {
	name string
	run  func(servers) (string, error)
}

// The cases run side by side.
var cases = []goCase{
	{"go-volume", servers.everyMessage},
	{"go-order", servers.order},
	{"go-delay", servers.delay},
	{"go-retry", servers.retry},
	{"go-transaction", servers.transaction},
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: INTEROP_BROKER=HOST:PORT interop HOST:PORT PREFIX")
		os.Exit(64)
	}
	rlog.SetLogLevel("error")
	s := servers{[]string{os.Args[1]}, os.Args[2]}
	lines := make([]chan string, len(cases))
	for i, c := range cases {
		lines[i] = make(chan string, 1)
		go func(c goCase, line chan string) {
			outcome, err := c.run(s)
			if err != nil {
				line <- fmt.Sprintf("case %s: failed\nnot ok - %s: %v", c.name, c.name, err)
			} else {
				line <- fmt.Sprintf("case %s: %s\nok - %s", c.name, outcome, c.name)
			}
		}(c, lines[i])
	}
	status := 0
	for _, line := range lines {
		text := <-line
		if strings.Contains(text, "\nnot ok") {
			status = 1
		}
		fmt.Println(text)
	}
	os.Exit(status)
}
