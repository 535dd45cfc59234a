// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.MessageQueue;

/** An administrator changes a topic's queues and permissions, or makes it anew, while its producers and consumers are at work. */
final class QueueCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("queue-shrink", QueueCases::shrink);
		all.put("queue-perm", QueueCases::perm);
		all.put("queue-recreate", QueueCases::recreate);
		all.put("queue-recreate-live", (Interop.Aside) QueueCases::recreateLive);
	}

	/** What producers sent and were told, and what consumers got. */
	static final class Ledger {
		final Set<String> tried = ConcurrentHashMap.newKeySet();
		final Set<String> acknowledged = ConcurrentHashMap.newKeySet();
		final Map<String, Integer> got = new ConcurrentHashMap<>();
		final AtomicInteger deliveries = new AtomicInteger();
		final List<Exception> refused = new CopyOnWriteArrayList<>();

		MessageListenerConcurrently listener() {
			return (messages, context) -> {
				for (var m : messages) {
					got.merge(World.text(m), 1, Integer::sum);
					deliveries.incrementAndGet();
				}
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			};
		}

		/** Waits for all that was acknowledged, and says what does not add up. */
		String balance() throws Exception {
			World.await("all that was acknowledged", () -> got.keySet().containsAll(acknowledged));
			refused.forEach(Exception::printStackTrace);
			Set<String> unknown = new TreeSet<>(got.keySet());
			unknown.removeAll(tried);
			return "refused " + refused.size() + ", lost 0, never sent " + unknown.size();
		}
	}

	/** A producer that sends until it is stopped, and hears soon of a change of the route. */
	static final class Sender implements AutoCloseable {
		final DefaultMQProducer producer;
		private final Ledger ledger;
		private final List<MessageQueue> used = Collections.synchronizedList(new ArrayList<>());
		private final Thread thread;
		private volatile boolean stops;

		Sender(World w, Ledger ledger, String topic, String instance) throws Exception {
			this.ledger = ledger;
			producer = w.producer(instance);
			producer.setPollNameServerInterval(500);
			producer.start();
			thread = new Thread(() -> {
				for (int i = 0; !stops; i++) {
					String text = instance + " " + i;

					ledger.tried.add(text);
					try {
						SendResult r = w.sent(producer.send(World.message(topic, "A", text)));

						used.add(r.getMessageQueue());
						ledger.acknowledged.add(text);
						Thread.sleep(2); /* a load, not a flood */
					} catch (Exception e) {
						ledger.refused.add(e);
					}
				}
			}, "sender " + instance);
			thread.start();
		}

		int count() {
			return used.size();
		}

		/** The queues of its last `n` messages. */
		List<MessageQueue> last(int n) {
			synchronized (used) {
				return new ArrayList<>(used.subList(Math.max(0, used.size() - n), used.size()));
			}
		}

		@Override
		public void close() throws InterruptedException {
			stops = true;
			thread.join();
			producer.shutdown();
		}
	}

	static DefaultMQPushConsumer consumer(World w, String group, String instance, String topic, MessageListenerConcurrently listener)
			throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);

		c.setPollNameServerInterval(500);
		c.subscribe(topic, "*");
		c.registerMessageListener(listener);
		c.start();
		return c;
	}

	/** Whether a group has consumed and committed all of the queues that are asked for. */
	static boolean isDrained(World w, String group, String topic, java.util.function.Predicate<MessageQueue> which,
			DefaultMQPushConsumer... members) throws Exception {
		for (DefaultMQPushConsumer c : members)
			c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
		/* Of two brokers, one may not know the group yet. */
		try {
			for (var e : w.admin.examineConsumeStats(w.name(group)).getOffsetTable().entrySet())
				if (e.getKey().getTopic().equals(topic) && which.test(e.getKey())
						&& e.getValue().getConsumerOffset() < e.getValue().getBrokerOffset())
					return false;
		} catch (MQClientException e) {
			return false;
		}
		return true;
	}

	private static void configure(World w, String topic, int read, int write, int perm) throws Exception {
		w.admin.createAndUpdateTopicConfig(w.broker, new TopicConfig(topic, read, write, perm));
	}

	/** 16 queues become 8: first for producers; when the rest is consumed also for consumers. And 16 again. */
	private static void shrink(World w) throws Exception {
		String topic = w.topic("shrink", 16);
		Ledger ledger = new Ledger();
		DefaultMQPushConsumer[] members = {consumer(w, "shrink", "shrink-0", topic, ledger.listener()),
			consumer(w, "shrink", "shrink-1", topic, ledger.listener())};
		Sender[] senders = {new Sender(w, ledger, topic, "shrink-a"), new Sender(w, ledger, topic, "shrink-b")};

		try {
			PushCases.awaitShares(topic, 8, members);
			for (Sender s : senders)
				World.await("sends to all queues", () -> s.last(1000).stream().map(MessageQueue::getQueueId).distinct().count() == 16);

			configure(w, topic, 16, 8, 6);
			for (Sender s : senders) {
				int before = s.count();

				World.await("sends to the first eight only", () -> s.count() > before + 100
						&& s.last(50).stream().allMatch(q -> q.getQueueId() < 8));
			}
			World.await("the others drained", () -> isDrained(w, "shrink", topic, q -> q.getQueueId() >= 8, members));

			configure(w, topic, 8, 8, 6);
			PushCases.awaitShares(topic, 4, members);
			for (Sender s : senders) {
				int before = s.count();

				World.await("further sends", () -> s.count() > before + 100);
				s.close();
			}
			w.outcome(ledger.balance());
			w.settle();
			World.await("an end", () -> isDrained(w, "shrink", topic, q -> true, members));

			/* What the eight had is there, and is consumed. */
			configure(w, topic, 16, 16, 6);
			PushCases.awaitShares(topic, 8, members);
			int deliveries = ledger.deliveries.get();
			long end = w.producer.maxOffset(w.queue(topic, 12));
			SendResult r = w.send(World.message(topic, "A", "again sixteen"), 12);

			World.check(end > 0, "queue 12 was never used");
			World.await("a message in queue 12", () -> ledger.got.containsKey("again sixteen"));
			w.outcome("again sixteen: queue 12 goes on where it was " + (r.getQueueOffset() == end) + ", came "
					+ (ledger.deliveries.get() - deliveries));
		} finally {
			for (Sender s : senders)
				s.close();
			for (DefaultMQPushConsumer c : members)
				c.shutdown();
		}
	}

	/** Each direction shut and opened again while clients are connected. */
	private static void perm(World w) throws Exception {
		String topic = w.topic("perm", 2);
		World.Inbox inbox = new World.Inbox();
		World.Inbox late = new World.Inbox();
		DefaultMQProducer p = w.producer("perm");
		DefaultMQPushConsumer reader = null;
		DefaultMQPushConsumer c = consumer(w, "perm", "perm", topic, (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});

		p.setPollNameServerInterval(500);
		p.start();
		try {
			for (int i = 0; i < 10; i++)
				w.sent(p.send(World.message(topic, "A", "rw " + i), w.queue(topic, i % 2)));
			World.await("10 messages", () -> inbox.distinct() == 10);

			configure(w, topic, 2, 2, 4);
			/* A producer that does not know it yet is not refused. */
			w.outcomeOf("perm 4, send to a queue", () -> p.send(World.message(topic, "A", "r "), w.queue(topic, 0)).getSendStatus());
			World.await("the route without write permission", () -> {
				try {
					p.fetchPublishMessageQueues(topic);
					return false;
				} catch (MQClientException e) {
					return true;
				}
			});
			reader = consumer(w, "perm-late", "perm-late", topic, (messages, context) -> {
				messages.forEach(late::add);
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			World.await("11 messages with perm 4", () -> late.distinct() == 11 && inbox.distinct() == 11);
			w.outcome("perm 4: a new group got " + late.distinct());

			configure(w, topic, 2, 2, 2);
			for (int i = 0; i < 10; i++)
				w.sent(p.send(World.message(topic, "A", "w " + i), w.queue(topic, i % 2)));
			w.settle();
			/* Consumers that waited when the permission was taken away were woken by these messages, before all of this is answered. */
			for (int i = 0; i < 50; i++)
				w.producer.maxOffset(w.queue(topic, i % 2));
			w.outcome("perm 2: sent 10, the consumers got " + (inbox.distinct() - 11) + " and " + (late.distinct() - 11));

			configure(w, topic, 2, 2, 6);
			DefaultMQPushConsumer second = reader;
			World.await("10 more", () -> {
				World.rebalance(c);
				World.rebalance(second);
				return inbox.distinct() == 21 && late.distinct() == 21;
			});
			w.outcome("perm 6: got " + inbox.texts().stream().filter(t -> t.startsWith("w ")).count());
		} finally {
			p.shutdown();
			c.shutdown();
			if (reader != null)
				reader.shutdown();
		}
	}

	/** 4.9 wants the name of the cluster as well, behind the topic. */
	private static void deleteRoute(World w, String topic) throws Exception {
		Set<String> servers = Set.of(w.namesrv);

		try {
			w.admin.getClass().getMethod("deleteTopicInNameServer", Set.class, String.class).invoke(w.admin, servers, topic);
		} catch (NoSuchMethodException e) {
			w.admin.deleteTopicInNameServer(servers, topic, null);
		}
	}

	private static void delete(World w, String topic) throws Exception {
		w.admin.deleteTopicInBroker(Set.of(w.broker), topic);
		World.await("no route to " + topic, () -> {
			try {
				/* A registration that was under way may bring it back. */
				deleteRoute(w, topic);
				w.admin.examineTopicRouteInfo(topic);
				return false;
			} catch (MQClientException e) {
				return true;
			}
		});
	}

	static long committed(World w, String group, MessageQueue q) throws Exception {
		try {
			for (var e : w.admin.examineConsumeStats(w.name(group)).getOffsetTable().entrySet())
				if (e.getKey().equals(q))
					return e.getValue().getConsumerOffset();
		} catch (MQClientException e) {
			/* nothing is known of the group */
		}
		return -1;
	}

	private static void send(World w, String topic, String text, int from, int to) throws Exception {
		for (int i = from; i < to; i++)
			w.send(World.message(topic, "A", text + i), i % 2);
		w.settle();
	}

	/** A topic of the same name begins empty at offset 0, and its groups begin anew. */
	private static void recreate(World w) throws Exception {
		String topic = w.topic("recreate", 2);

		for (int round = 0; round < 3; round++) {
			World.Inbox inbox = new World.Inbox();
			int count = 40 - 10 * round;
			DefaultMQPushConsumer c;
			String text = "round " + round + " m";

			w.outcome("round " + round + " is " + w.producer.minOffset(w.queue(topic, 1)) + ".." + w.producer.maxOffset(w.queue(topic, 1))
					+ " committed " + committed(w, "recreate", w.queue(topic, 1)));
			send(w, topic, text, 0, count);
			c = consumer(w, "recreate", "recreate-" + round, topic, (messages, context) -> {
				messages.forEach(inbox::add);
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			try {
				World.await(count + " messages", () -> inbox.size() >= count);
				World.await("the offsets", () -> isDrained(w, "recreate", topic, q -> true, c)
						&& committed(w, "recreate", w.queue(topic, 1)) == count / 2);
			} finally {
				c.shutdown();
			}
			World.check(inbox.texts().stream().allMatch(t -> t.startsWith(text)), "old messages: " + inbox.texts());
			w.outcome("got " + inbox.distinct());
			delete(w, topic);
			w.topic("recreate", 2);
		}
	}

	/** The same under a consumer that stays: it finds its offset beyond the end and corrects it. */
	private static void recreateLive(World w) throws Exception {
		String topic = w.topic("recreate-live", 2);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = consumer(w, "recreate-live", "recreate-live", topic, (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});

		try {
			send(w, topic, "old ", 0, 40);
			World.await("40 messages", () -> inbox.size() >= 40);
			World.await("the offsets", () -> isDrained(w, "recreate-live", topic, q -> true, c)
					&& committed(w, "recreate-live", w.queue(topic, 1)) == 20);
			delete(w, topic);
			w.topic("recreate-live", 2);
			/* The client does that some ten seconds after the pull that told it. */
			World.await("the corrected offsets", 90_000, () -> {
				World.rebalance(c);
				return isAt(c, w.queue(topic, 0), 0) && isAt(c, w.queue(topic, 1), 0);
			});
			inbox.clear();
			send(w, topic, "new ", 0, 20);
			World.await("20 messages", () -> inbox.distinct() >= 20);
			World.check(inbox.texts().stream().allMatch(t -> t.startsWith("new ")), "old messages: " + inbox.texts());
			w.outcome("got " + inbox.distinct() + " new");
			World.await("the offsets", () -> isDrained(w, "recreate-live", topic, q -> true, c)
					&& committed(w, "recreate-live", w.queue(topic, 1)) == 10);
			w.outcome("committed 10");
		} finally {
			c.shutdown();
		}
	}

	private static boolean isAt(DefaultMQPushConsumer c, MessageQueue q, long offset) {
		var queue = c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().get(q);

		return queue != null && !queue.isDropped() && c.getDefaultMQPushConsumerImpl().getOffsetStore().readOffset(q,
				org.apache.rocketmq.client.consumer.store.ReadOffsetType.READ_FROM_MEMORY) == offset;
	}
}
