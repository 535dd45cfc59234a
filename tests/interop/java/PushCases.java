// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.consumer.store.OffsetStore;
import org.apache.rocketmq.client.consumer.store.ReadOffsetType;
import org.apache.rocketmq.client.impl.consumer.ProcessQueue;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/** Push consumers: who gets what, and where a group goes on. */
final class PushCases {
	static final int QUEUES = 8;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("push-cluster", PushCases::cluster);
		all.put("push-broadcast", PushCases::broadcast);
		all.put("push-tags", PushCases::tags);
		all.put("push-restart", PushCases::restart);
		all.put("push-young-topic", PushCases::youngTopic);
		all.put("push-at-once", PushCases::atOnce);
		all.put("push-orderly", PushCases::orderly);
		all.put("volume", PushCases::volume);
	}

	private static MessageListenerConcurrently into(World.Inbox inbox) {
		return (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		};
	}

	private static void sendNumbered(World w, String topic, String text, int from, int to) throws Exception {
		for (int i = from; i < to; i++)
			w.send(World.message(topic, "A", text + i), i % QUEUES);
	}

	private static void cluster(World w) throws Exception {
		String topic = w.topic("cluster", QUEUES);
		DefaultMQPushConsumer[] members = new DefaultMQPushConsumer[2];
		World.Inbox[] inboxes = {new World.Inbox(), new World.Inbox()};

		for (int i = 0; i < 2; i++) {
			members[i] = w.pushConsumer("cluster", "member-" + i);
			members[i].subscribe(topic, "*");
			members[i].registerMessageListener(into(inboxes[i]));
		}
		try {
			/* One after the other: a first that is still on its way to all queues passes through half of them, too. */
			members[0].start();
			World.await("all queues at the first", () -> shareOf(members[0], topic) == QUEUES);
			members[1].start();
			World.await("an even share", () -> shareOf(members[0], topic) == 4 && shareOf(members[1], topic) == 4);
			sendNumbered(w, topic, "both ", 0, 400);
			World.await("400 messages", () -> inboxes[0].size() + inboxes[1].size() >= 400);
			World.checkEqual(inboxes[0].distinct() + inboxes[1].distinct(), 400, "number of different messages");
			w.outcome("shared " + inboxes[0].size() + "+" + inboxes[1].size());

			/* The offsets that it says as it leaves, one-way, may come after the other's question for them. */
			awaitNoLag(w, "cluster", members);
			long left = System.nanoTime();
			members[0].shutdown();
			World.await("all queues at the other", () -> shareOf(members[1], topic) == QUEUES);
			/* Without the broker's notice it would look only every 20 s. */
			World.check(System.nanoTime() - left < 10_000_000_000L, "the other took over after more than 10 s");
			inboxes[0].clear();
			inboxes[1].clear();
			sendNumbered(w, topic, "one ", 0, 400);
			World.await("400 messages", () -> inboxes[1].texts().stream().filter(t -> t.startsWith("one ")).count() == 400);
			World.checkEqual(inboxes[0].size(), 0, "number at the one that left");
			awaitNoLag(w, "cluster", members[1]);
			w.outcome("after one left 0+" + inboxes[1].size());
		} finally {
			members[0].shutdown();
			members[1].shutdown();
		}
	}

	/** Clients commit every 5 s; these now. */
	private static void awaitNoLag(World w, String group, DefaultMQPushConsumer... members) throws Exception {
		World.await("no lag of " + group, () -> {
			for (DefaultMQPushConsumer c : members)
				c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
			return w.lag(group) == 0;
		});
	}

	/**
	 * Until everything that came is done and noted as done: what is not when a member leaves comes again. A client takes a message out
	 * of its queue before it notes the offset, so an empty queue alone does not say it.
	 */
	private static void awaitIdle(World w, DefaultMQPushConsumer c) throws Exception {
		OffsetStore offsets = c.getDefaultMQPushConsumerImpl().getOffsetStore();

		World.await("an idle listener", () -> {
			for (Map.Entry<MessageQueue, ProcessQueue> e : c.getDefaultMQPushConsumerImpl().getRebalanceImpl()
					.getProcessQueueTable().entrySet()) {
				long end = w.admin.maxOffset(e.getKey());

				if (e.getValue().getMsgCount().get() > 0
						|| (end > 0 && offsets.readOffset(e.getKey(), ReadOffsetType.READ_FROM_MEMORY) < end))
					return false;
			}
			return true;
		});
	}

	/** How many of the topic's queues the rebalance gave to this member (the group's retry topic has one more). */
	static long shareOf(DefaultMQPushConsumer c, String topic) {
		return c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
				.filter(q -> q.getTopic().equals(topic)).count();
	}

	/** Until each member has so many queues. Members that lock ask for what another still holds, and would try again only after 20 s. */
	static void awaitShares(String topic, int each, DefaultMQPushConsumer... members) throws Exception {
		World.await("an even share", () -> {
			boolean all = true;

			for (DefaultMQPushConsumer c : members) {
				World.rebalance(c);
				all &= shareOf(c, topic) == each;
			}
			return all;
		});
	}

	private static void broadcast(World w) throws Exception {
		String topic = w.topic("broadcast", QUEUES);
		DefaultMQPushConsumer[] members = new DefaultMQPushConsumer[2];
		World.Inbox[] inboxes = {new World.Inbox(), new World.Inbox()};

		for (int i = 0; i < 2; i++) {
			members[i] = w.pushConsumer("broadcast", "listener-" + i);
			/* MessageModel lives in different packages. */
			members[i].setMessageModel(members[i].getMessageModel().valueOf("BROADCASTING"));
			members[i].subscribe(topic, "*");
			members[i].registerMessageListener(into(inboxes[i]));
			members[i].start();
		}
		try {
			World.await("all queues at both", () -> shareOf(members[0], topic) == QUEUES
					&& shareOf(members[1], topic) == QUEUES);
			sendNumbered(w, topic, "to all ", 0, 160);
			World.await("160 messages each", () -> inboxes[0].size() >= 160 && inboxes[1].size() >= 160);
			World.checkEqual(inboxes[0].texts(), inboxes[1].texts(), "set of the first");
			w.outcome("each got " + inboxes[0].size() + "/" + inboxes[0].distinct() + " and " + inboxes[1].size()
					+ "/" + inboxes[1].distinct());
		} finally {
			members[0].shutdown();
			members[1].shutdown();
		}
	}

	private static void tags(World w) throws Exception {
		String topic = w.topic("tags", QUEUES);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = w.pushConsumer("tags", "tags");
		String[] tags = {"A", "B", "C", "AaAa", "BBBB", null};

		/* AaAa and BBBB have the same hash, which is all a broker may look at: the client drops the rest. */
		for (int i = 0; i < 120; i++)
			w.send(World.message(topic, tags[i % 6], tags[i % 6] + " " + i), i % QUEUES);
		/* The last of each queue: when these have come, everything before them has. */
		for (int q = 0; q < QUEUES; q++)
			w.send(World.message(topic, "A", "last " + q), q);
		c.subscribe(topic, "A || BBBB");
		c.registerMessageListener(into(inbox));
		c.start();
		try {
			World.await("the last messages",
					() -> inbox.texts().stream().filter(t -> t.startsWith("last")).count() == QUEUES);
			awaitIdle(w, c);
			List<String> kinds = new ArrayList<>();
			inbox.texts().forEach(t -> kinds.add(t.split(" ")[0]));
			w.outcome(World.histogram(kinds));
		} finally {
			c.shutdown();
		}
	}

	private static void restart(World w) throws Exception {
		String topic = w.topic("restart", QUEUES);

		sendNumbered(w, topic, "m", 0, 200);
		for (int round = 0; round < 3; round++) {
			World.Inbox inbox = new World.Inbox();
			DefaultMQPushConsumer c = w.pushConsumer("restart", "round-" + round);
			int wanted = round == 0 ? 200 : 100;

			c.subscribe(topic, "*");
			c.registerMessageListener(into(inbox));
			c.start();
			try {
				World.await(wanted + " messages", () -> inbox.size() >= wanted);
				awaitIdle(w, c);
			} finally {
				c.shutdown();
			}
			World.await("the offsets of round " + round, () -> w.lag("restart") == 0);
			World.checkEqual(inbox.size(), wanted, "number of messages in round " + round);
			w.outcome("round " + round + " got " + inbox.distinct());
			sendNumbered(w, topic, "round " + round + " m", 0, 100);
		}
	}

	/** A group without offsets on a topic whose messages are all still young begins at the first one, whatever it asks. */
	private static void youngTopic(World w) throws Exception {
		String topic = w.topic("young", QUEUES);

		sendNumbered(w, topic, "m", 0, 40);
		for (ConsumeFromWhere where : new ConsumeFromWhere[] {ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET,
			ConsumeFromWhere.CONSUME_FROM_TIMESTAMP}) {
			World.Inbox inbox = new World.Inbox();
			DefaultMQPushConsumer c = w.pushConsumer("young-" + where, "young-" + where);

			c.setConsumeFromWhere(where);
			c.subscribe(topic, "*");
			c.registerMessageListener(into(inbox));
			c.start();
			try {
				World.await("40 messages", () -> inbox.size() >= 40);
				w.outcome(where + " got " + inbox.distinct());
			} finally {
				c.shutdown();
			}
		}
	}

	/** A message for a consumer that waits is pushed at once, not at the end of the long poll (15 s). */
	private static void atOnce(World w) throws Exception {
		String topic = w.topic("at-once", 1);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = w.pushConsumer("at-once", "at-once");

		c.subscribe(topic, "*");
		c.registerMessageListener(into(inbox));
		c.start();
		try {
			World.await("the queue", () -> shareOf(c, topic) == 1);
			for (int i = 0; i < 20; i++) {
				int wanted = i + 1;
				long start = System.nanoTime();

				w.send(World.message(topic, "A", "m" + i), 0);
				World.await("message " + i, () -> inbox.size() == wanted);
				/* The first pull may come late: the client's rebalance decides. And Apache's broker may miss to wake a pull, which
				 * it then looks at within 5 s. */
				World.check(i == 0 || System.nanoTime() - start < 10_000_000_000L, "message " + i + " took over 10 s");
			}
			w.outcome("20 in time");
		} finally {
			c.shutdown();
		}
	}

	/** Two orderly members lock their queues; each queue stays in order when one leaves. */
	private static void orderly(World w) throws Exception {
		String topic = w.topic("orderly", QUEUES);
		OrderCheck order = new OrderCheck();
		DefaultMQPushConsumer[] members = new DefaultMQPushConsumer[2];

		for (int i = 0; i < 2; i++) {
			members[i] = w.pushConsumer("orderly", "orderly-" + i);
			members[i].subscribe(topic, "*");
			members[i].registerMessageListener(order);
			members[i].start();
		}
		try {
			/* The second asks for locks that the first still holds and would try again only after 20 s. */
			World.await("an even share", () -> {
				World.rebalance(members[1]);
				return shareOf(members[0], topic) == 4 && shareOf(members[1], topic) == 4;
			});
			for (int i = 0; i < 200; i++)
				w.send(World.message(topic, "A", "" + i / QUEUES), i % QUEUES);
			order.awaitPerQueue(topic, 200 / QUEUES);
			awaitNoLag(w, "orderly", members);
			members[0].shutdown();
			World.await("all queues at the other", () -> shareOf(members[1], topic) == QUEUES);
			for (int i = 200; i < 400; i++)
				w.send(World.message(topic, "A", "" + i / QUEUES), i % QUEUES);
			order.awaitPerQueue(topic, 400 / QUEUES);
			w.outcome("in order " + order.total.get());
		} finally {
			members[0].shutdown();
			members[1].shutdown();
		}
	}

	/** Accepts from each queue exactly the bodies 0, 1, 2, ... */
	static final class OrderCheck implements MessageListenerOrderly {
		final Map<Integer, Integer> next = new ConcurrentHashMap<>();
		final AtomicInteger total = new AtomicInteger();
		final AtomicReference<String> wrong = new AtomicReference<>();

		@Override
		public ConsumeOrderlyStatus consumeMessage(List<MessageExt> messages,
				org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyContext context) {
			for (MessageExt m : messages) {
				int number = Integer.parseInt(World.text(m));
				int wanted = next.getOrDefault(m.getQueueId(), 0);

				if (number != wanted)
					wrong.compareAndSet(null, "queue " + m.getQueueId() + " gave " + number + ", wanted " + wanted);
				next.put(m.getQueueId(), number + 1);
				total.incrementAndGet();
			}
			return ConsumeOrderlyStatus.SUCCESS;
		}

		void awaitPerQueue(String topic, int count) throws Exception {
			World.await(count + " messages of each queue of " + topic, () -> wrong.get() != null
					|| next.size() == QUEUES && next.values().stream().allMatch(n -> n >= count));
			World.check(wrong.get() == null, wrong.get());
			World.checkEqual(total.get(), count * QUEUES, "number of messages");
		}
	}

	/** 100,000 messages, consumed while they are sent: exactly those, each queue in order. */
	private static void volume(World w) throws Exception {
		String topic = w.topic("volume", QUEUES);
		int perQueue = 100_000 / QUEUES;
		OrderCheck order = new OrderCheck();
		DefaultMQPushConsumer c = w.pushConsumer("volume", "volume");
		ExecutorService senders = Executors.newFixedThreadPool(QUEUES);
		List<Future<?>> sent = new ArrayList<>();

		c.setConsumeThreadMin(QUEUES);
		c.setConsumeThreadMax(QUEUES);
		c.setConsumeMessageBatchMaxSize(32);
		c.subscribe(topic, "*");
		c.registerMessageListener(order);
		c.start();
		try {
			for (int q = 0; q < QUEUES; q++) {
				int queue = q;

				sent.add(senders.submit(() -> {
					for (int i = 0; i < perQueue; i++)
						w.send(World.message(topic, "A", "" + i), queue);
					return null;
				}));
			}
			for (Future<?> s : sent)
				s.get();
			order.awaitPerQueue(topic, perQueue);
			for (int q = 0; q < QUEUES; q++)
				World.checkEqual(w.producer.maxOffset(w.queue(topic, q)), (long) perQueue, "maximum of queue " + q);
			w.outcome("in order " + order.total.get());
		} finally {
			senders.shutdownNow();
			c.shutdown();
		}
	}
}
