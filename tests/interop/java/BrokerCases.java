// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.locks.ReentrantLock;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.UtilAll;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * What needs brokers of its own, broker-a, broker-b and broker-c behind one NameServer: `java BrokerCases HOST:PORT PREFIX [CASE...]`. These brokers
 * let their clients reset offsets, and forget messages after seconds when an administrator says so.
 *
 * INTEROP_RESTART is a command that stops broker-b as its administrator would, and starts it again. broker-c is that of PressureCases.
 */
public final class BrokerCases {
	public static void main(String[] args) {
		Interop.run(List.of(BrokerCases::addTo, PressureCases::addTo), args);
	}

	/** Held by who takes the permission to write to broker-a from everybody, and by who cannot do without it. */
	static final ReentrantLock writable = new ReentrantLock();

	private static void addTo(Map<String, Interop.Case> all) {
		all.put("wipe-write-perm", BrokerCases::wipe);
		all.put("reset-told-offline", BrokerCases::toldOffline);
		all.put("reset-told-online", BrokerCases::toldOnline);
		Interop.addNewer("PopBrokerCases", all);
		all.put("old-topic", BrokerCases::old); /* the last: what others sent is gone then */
	}

	static String address(World w, String broker) throws Exception {
		World.await(broker, 90_000, () -> w.admin.examineBrokerClusterInfo().getBrokerAddrTable().containsKey(broker));
		return w.admin.examineBrokerClusterInfo().getBrokerAddrTable().get(broker).getBrokerAddrs().get(0L);
	}

	static String topic(World w, String rest, int queues, String... brokers) throws Exception {
		String topic = w.name(rest);

		for (String broker : brokers)
			w.admin.createAndUpdateTopicConfig(address(w, broker), new TopicConfig(topic, queues, queues, 6));
		World.await("a route to " + topic, () -> {
			try {
				return w.admin.examineTopicRouteInfo(topic).getQueueDatas().size() == brokers.length;
			} catch (MQClientException e) {
				return false;
			}
		});
		return topic;
	}

	static MessageQueue onB(String topic, int id) {
		return new MessageQueue(topic, "broker-b", id);
	}

	private static void sendToB(World w, String topic, String text, int from, int to) throws Exception {
		for (int i = from; i < to; i++)
			w.sent(w.producer.send(World.message(topic, "A", text + i), onB(topic, i % 2)));
		w.settle();
	}

	static MessageListenerConcurrently into(World.Inbox inbox) {
		return (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		};
	}

	/* ---- write permissions at the NameServer ---- */

	private static String permOf(World w, String topic, String broker) throws Exception {
		for (var q : w.admin.examineTopicRouteInfo(topic).getQueueDatas())
			if (q.getBrokerName().equals(broker))
				return broker + " " + q.getPerm();
		return "none";
	}

	private static void awaitBrokers(QueueCases.Sender[] senders, Set<String> wanted) throws Exception {
		for (QueueCases.Sender s : senders) {
			int before = s.count();

			World.await("sends to " + wanted, () -> {
				Set<String> used = new TreeSet<>();

				s.last(40).forEach(q -> used.add(q.getBrokerName()));
				return s.count() > before + 80 && used.equals(wanted);
			});
		}
	}

	/** Producers leave a broker that loses its write permission; it runs dry and loses nothing; and they come back. */
	private static void wipe(World w) throws Exception {
		String topic = topic(w, "wipe", 4, "broker-a", "broker-b");
		QueueCases.Ledger ledger = new QueueCases.Ledger();
		DefaultMQPushConsumer c = QueueCases.consumer(w, "wipe", "wipe", topic, ledger.listener());
		QueueCases.Sender[] senders = {new QueueCases.Sender(w, ledger, topic, "wipe-a"), new QueueCases.Sender(w, ledger, topic, "wipe-b")};

		writable.lock();
		try {
			awaitBrokers(senders, Set.of("broker-a", "broker-b"));
			PushCases.awaitShares(topic, 8, c);
			w.outcome("wiped some " + (w.admin.wipeWritePermOfBroker(w.namesrv, "broker-a") > 0));
			w.outcome(permOf(w, topic, "broker-a") + ", " + permOf(w, topic, "broker-b"));
			awaitBrokers(senders, Set.of("broker-b"));
			World.await("a drained broker", () -> QueueCases.isDrained(w, "wipe", topic, q -> q.getBrokerName().equals("broker-a"), c));
			w.outcome("drained");

			w.outcome("added some " + (w.admin.addWritePermOfBroker(w.namesrv, "broker-a") > 0));
			w.outcome(permOf(w, topic, "broker-a") + ", " + permOf(w, topic, "broker-b"));
			awaitBrokers(senders, Set.of("broker-a", "broker-b"));
			for (QueueCases.Sender s : senders)
				s.close();
			w.outcome(ledger.balance());
			w.outcome("of an unknown broker " + w.admin.wipeWritePermOfBroker(w.namesrv, "no-broker"));
		} finally {
			writable.unlock();
			for (QueueCases.Sender s : senders)
				s.close();
			c.shutdown();
		}
	}

	/* ---- useServerSideResetOffset=false: members of the group reset themselves ---- */

	private static String shown(Map<MessageQueue, Long> table) {
		Map<Integer, Long> byQueue = new TreeMap<>();

		table.forEach((q, offset) -> byQueue.put(q.getQueueId(), offset));
		return byQueue.toString();
	}

	/** Nobody is there to be told: mqadmin then writes the offsets by itself. */
	private static void toldOffline(World w) throws Exception {
		String topic = topic(w, "told-off", 2, "broker-b");
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c;

		sendToB(w, topic, "m", 0, 20);
		for (int round = 0; round < 2; round++) {
			inbox.clear();
			c = QueueCases.consumer(w, "told-off", "told-off-" + round, topic, into(inbox));
			try {
				DefaultMQPushConsumer member = c;

				World.await("20 messages", () -> inbox.distinct() == 20);
				World.await("the offsets", () -> QueueCases.isDrained(w, "told-off", topic, q -> true, member)
						&& QueueCases.committed(w, "told-off", onB(topic, 1)) == 10);
			} finally {
				c.shutdown();
			}
			w.outcome("got " + inbox.distinct());
			if (round == 0) {
				World.await("no member", () -> {
					try {
						return w.admin.examineConsumerConnectionInfo(w.name("told-off")).getConnectionSet().isEmpty();
					} catch (Exception e) {
						return true;
					}
				});
				w.outcomeOf("reset", () -> shown(w.admin.resetOffsetByTimestamp(topic, w.name("told-off"), 0, true)));
				w.outcome("written " + w.admin.resetOffsetByTimestampOld(w.name("told-off"), topic, 0, true).size());
			}
		}
	}

	private static void awaitEnd(CountDownLatch end) {
		try {
			end.await();
		} catch (InterruptedException e) {
			Thread.currentThread().interrupt();
		}
	}

	/** A member takes ten seconds to forget what it was doing. */
	private static void toldOnline(World w) throws Exception {
		String topic = topic(w, "told-on", 2, "broker-b");
		World.Inbox inbox = new World.Inbox();
		CountDownLatch goesOn = new CountDownLatch(1);
		DefaultMQPushConsumer c = QueueCases.consumer(w, "told-on", "told-on", topic, (messages, context) -> {
			messages.forEach(inbox::add);
			if (World.text(messages.get(0)).startsWith("held"))
				awaitEnd(goesOn);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});

		try {
			sendToB(w, topic, "m", 0, 20);
			World.await("20 messages", () -> inbox.distinct() == 20);
			World.await("the offsets", () -> QueueCases.isDrained(w, "told-on", topic, q -> true, c)
					&& QueueCases.committed(w, "told-on", onB(topic, 1)) == 10);
			inbox.clear();
			w.outcome("to the beginning " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("told-on"), 0, true)));
			World.await("20 messages again", 60_000, () -> {
				World.rebalance(c);
				return inbox.distinct() == 20;
			});
			World.await("the offsets", () -> QueueCases.isDrained(w, "told-on", topic, q -> true, c)
					&& QueueCases.committed(w, "told-on", onB(topic, 1)) == 10);
			w.outcome("got again " + inbox.distinct());
			/* It would find nothing to forget while the ten seconds of another last, so this comes after all. What the group has is
			 * before the end, and nothing of it is skipped. */
			sendToB(w, topic, "held ", 0, 2);
			World.await("the held ones", () -> inbox.distinct() == 22);
			w.outcome("to the end, not forced " + shown(w.admin.resetOffsetByTimestamp(topic, w.name("told-on"), -1, false)));
		} finally {
			goesOn.countDown();
			c.shutdown();
		}
	}

	/* ---- a topic whose first messages are gone ---- */

	private static final class Reader {
		final DefaultMQPushConsumer consumer;
		final World.Inbox inbox = new World.Inbox();

		Reader(World w, String topic, ConsumeFromWhere where, long timestamp, String name) throws Exception {
			consumer = w.pushConsumer(name, name);
			consumer.setConsumeFromWhere(where);
			consumer.setConsumeTimestamp(UtilAll.timeMillisToHumanString3(timestamp));
			consumer.subscribe(topic, "*");
			consumer.registerMessageListener(into(inbox));
			consumer.start();
			World.await("the queues", () -> PushCases.shareOf(consumer, topic) == 2);
		}
	}

	private static String range(World w, String topic) throws Exception {
		return w.producer.minOffset(onB(topic, 0)) + ".." + w.producer.maxOffset(onB(topic, 0));
	}

	private static void restart() throws Exception {
		String command = System.getenv("INTEROP_RESTART");
		Process p;

		World.check(command != null, "INTEROP_RESTART names no command");
		p = new ProcessBuilder("bash", "-c", command).redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
		World.checkEqual(p.waitFor(), 0, "exit status of INTEROP_RESTART");
	}

	/** While the NameServer has yet to hear of the broker again, a client may forget the address that it knew and answered just now. */
	private static String rangeAfter(World w, String topic, MessageQueue q) throws Exception {
		StringBuilder range = new StringBuilder();

		World.await("the broker again", 90_000, () -> {
			try {
				if (w.producer.maxOffset(q) != 16)
					return false;
				range.append(range(w, topic));
				return true;
			} catch (MQClientException e) {
				return false;
			}
		});
		return range.toString();
	}

	/** Pops by the newer client, of groups that begin now, began when the topic was empty, or had got to the third message before. */
	private static void popOld(World w, String broker, String topic, String when) throws Exception {
		try {
			w.outcome("pops " + when + ": " + Class.forName("PopCases")
					.getDeclaredMethod("old", World.class, String.class, String.class, String.class, String.class)
					.invoke(null, w, broker, topic, when, "old-puller"));
		} catch (ClassNotFoundException e) {
			/* an older client */
		}
	}

	private static void old(World w) throws Exception {
		String topic = topic(w, "old", 2, "broker-b");
		String filler = topic(w, "old-filler", 1, "broker-b");
		String b = address(w, "broker-b");
		long hour = 3_600_000;
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("old-puller"));
		Map<String, Reader> readers = new LinkedHashMap<>();
		MessageQueue q = onB(topic, 0);

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("old-puller");
		c.start();
		try {
			sendToB(w, topic, "old ", 0, 20);
			w.outcomeOf("before", () -> PullCases.shown(c.pull(q, "*", 0, 1)));
			w.admin.updateConsumeOffset(b, c.getConsumerGroup(), q, 3);
			/* Apache's broker forgets whole files, of 1 MiB here, but never the last one. */
			for (int i = 0; i < 20; i++) {
				byte[] noise = new byte[64 << 10]; /* else the client would compress it */

				new Random(i).nextBytes(noise);
				w.sent(w.producer.send(new Message(filler, noise), onB(filler, 0)));
			}
			World.await("the old messages gone", 90_000, () -> {
				w.admin.deleteExpiredCommitLogByAddr(b);
				return w.producer.minOffset(onB(topic, 0)) == 10 && w.producer.minOffset(onB(topic, 1)) == 10;
			});
			w.outcome("empty " + range(w, topic));
			for (long at : new long[] {0, 5, 10, 11})
				w.outcomeOf("at " + at, () -> PullCases.shown(c.pull(q, "*", at, 32)));
			popOld(w, b, topic, "empty");
			sendToB(w, topic, "young ", 0, 10);
			w.outcome("then " + range(w, topic));
			popOld(w, b, topic, "filled");
			for (long at : new long[] {0, 9, 10, 15, 100})
				w.outcomeOf("at " + at, () -> PullCases.shown(c.pull(q, "*", at, 32)));
			long now = System.currentTimeMillis();
			w.outcome("by time " + w.admin.searchOffset(q, 0) + " " + w.admin.searchOffset(q, now - hour) + " "
					+ w.admin.searchOffset(q, now + hour));

			readers.put("last", new Reader(w, topic, ConsumeFromWhere.CONSUME_FROM_LAST_OFFSET, now, "old-last"));
			readers.put("an hour ahead", new Reader(w, topic, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, now + hour, "old-ahead"));
			readers.put("an hour ago", new Reader(w, topic, ConsumeFromWhere.CONSUME_FROM_TIMESTAMP, now - hour, "old-ago"));
			readers.put("first", new Reader(w, topic, ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET, now, "old-first"));
			sendToB(w, topic, "new ", 0, 2);
			for (var r : readers.entrySet()) {
				World.await("the end for " + r.getKey(), 60_000, () -> {
					World.rebalance(r.getValue().consumer);
					return r.getValue().inbox.texts().containsAll(Set.of("new 0", "new 1"));
				});
				World.await("its offsets", () -> isCommitted(w, r.getValue(), topic, 16));
				w.outcome("from " + r.getKey() + " " + r.getValue().inbox.distinct());
			}
			/* The others say again where they are; of this one's group only the broker knows it. */
			readers.remove("an hour ago").consumer.shutdown();
			restart();
			w.outcome("after the restart " + rangeAfter(w, topic, q) + " committed " + committedAfter(w, topic));
			readers.values().forEach(r -> r.inbox.clear());
			World.await("sends", 60_000, () -> {
				try {
					sendToB(w, topic, "last ", 0, 2);
					return true;
				} catch (Exception e) {
					return false;
				}
			});
			for (var r : readers.entrySet())
				World.await("the last for " + r.getKey(), 60_000, () -> r.getValue().inbox.distinct() >= 2);
			List<String> texts = new ArrayList<>();
			readers.values().forEach(r -> texts.addAll(r.inbox.texts()));
			w.outcome("came " + World.histogram(texts));
		} finally {
			c.shutdown();
			readers.values().forEach(r -> r.consumer.shutdown());
		}
	}

	private static boolean isCommitted(World w, Reader r, String topic, long offset) throws Exception {
		r.consumer.getDefaultMQPushConsumerImpl().persistConsumerOffset();
		for (int id = 0; id < 2; id++)
			if (QueueCases.committed(w, r.consumer.getConsumerGroup().substring(w.name("").length()), onB(topic, id)) != offset)
				return false;
		return true;
	}

	/** Of all groups; a broker that has just started may not answer yet. */
	private static String committedAfter(World w, String topic) throws Exception {
		List<Long> offsets = new ArrayList<>();

		World.await("the committed offsets", 60_000, () -> {
			offsets.clear();
			for (String group : new String[] {"old-last", "old-ahead", "old-ago", "old-first"})
				for (int id = 0; id < 2; id++)
					offsets.add(QueueCases.committed(w, group, onB(topic, id)));
			return offsets.stream().noneMatch(o -> o < 0);
		});
		return World.histogram(offsets);
	}
}
