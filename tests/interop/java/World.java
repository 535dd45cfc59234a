// SPDX-License-Identifier: Apache-2.0

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.WeakHashMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.PullStatus;
import org.apache.rocketmq.client.exception.MQBrokerException;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.producer.DefaultMQProducer;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.client.producer.SendStatus;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.remoting.exception.RemotingException;
import org.apache.rocketmq.tools.admin.DefaultMQAdminExt;

/**
 * What the cases share: the servers, an administrator, a producer, names and waiting; and the outcomes of one of them.
 *
 * Both generations of the client compile this source. Classes that moved between them (routes, statistics, MessageModel) are
 * therefore held in `var` and never imported.
 */
final class World implements AutoCloseable {
	interface Condition {
		boolean holds() throws Exception;
	}

	interface Attempt {
		Object run() throws Exception;
	}

	private static final long DEADLINE_MS = 60_000;
	private static final int ANSWER_MS = 20_000; /* a busy machine answers late; a send that is given up would be sent twice */

	final String namesrv;
	final String broker;     /* address of the master */
	final String brokerName;
	final DefaultMQAdminExt admin;
	final DefaultMQProducer producer;
	private final String prefix; /* of topics and groups, so that runs on one server do not meet */
	private static final AtomicInteger readers = new AtomicInteger();

	/* Of one case: */
	private final List<String> outcomes = new ArrayList<>();
	private final Map<MessageQueue, Long> ends = new ConcurrentHashMap<>(); /* what answered sends promise, for settle() */

	World(String namesrv, String prefix) throws Exception {
		this.namesrv = namesrv;
		this.prefix = prefix;

		admin = new DefaultMQAdminExt(prefix + "-admin", ANSWER_MS);
		admin.setNamesrvAddr(namesrv);
		admin.setInstanceName("admin");
		admin.start();

		/* On a busy machine the classes for a first request may load for longer than it waits. */
		await("an answer of the NameServer", () -> {
			try {
				return !admin.examineBrokerClusterInfo().getBrokerAddrTable().isEmpty();
			} catch (RemotingException e) {
				return false;
			}
		});
		var members = new TreeMap<>(admin.examineBrokerClusterInfo().getBrokerAddrTable()).firstEntry().getValue();
		broker = members.getBrokerAddrs().get(0L);
		brokerName = members.getBrokerName();

		producer = producer("producer");
		producer.start();
	}

	private World(World shared) {
		namesrv = shared.namesrv;
		broker = shared.broker;
		brokerName = shared.brokerName;
		admin = shared.admin;
		producer = shared.producer;
		prefix = shared.prefix;
	}

	/** The same servers and clients, for a case that may run beside others. */
	World view() {
		return new World(this);
	}

	@Override
	public void close() {
		producer.shutdown();
		admin.shutdown();
	}

	/* ---- names ---- */

	String name(String rest) {
		return prefix + "-" + rest;
	}

	/** Of so many characters; outcomes show a few of them. */
	String longName(String rest, int n) {
		return name(rest) + "z".repeat(n - name(rest).length());
	}

	/** A topic that clients can find: the NameServer knows it. */
	String topic(String rest, int queues, int perm) throws Exception {
		String topic = name(rest);

		admin.createAndUpdateTopicConfig(broker, new TopicConfig(topic, queues, queues, perm));
		awaitRoute(topic);
		return topic;
	}

	/** The NameServer hears of a topic a little after its broker has it. */
	void awaitRoute(String topic) throws Exception {
		await("a route to " + topic, () -> {
			try {
				return !admin.examineTopicRouteInfo(topic).getQueueDatas().isEmpty();
			} catch (MQClientException e) {
				return false;
			}
		});
	}

	String topic(String rest, int queues) throws Exception {
		return topic(rest, queues, 6);
	}

	MessageQueue queue(String topic, int id) {
		return new MessageQueue(topic, brokerName, id);
	}

	/** What a group has not yet committed; -1 while Apache's broker knows nothing of it, which it does not before the first commit. */
	long lag(String group) throws Exception {
		try {
			return admin.examineConsumeStats(name(group)).computeTotalDiff();
		} catch (MQClientException e) {
			return -1;
		}
	}

	/* ---- clients, not yet started ---- */

	DefaultMQProducer producer(String instance) {
		return set(new DefaultMQProducer(name("producers")), instance);
	}

	<P extends DefaultMQProducer> P set(P p, String instance) {
		p.setNamesrvAddr(namesrv);
		p.setInstanceName(instance);
		p.setSendMsgTimeout(ANSWER_MS);
		p.setMqClientApiTimeout(ANSWER_MS);
		return p;
	}

	/** Clients of one instance name would share connections and heartbeats with those of other cases. */
	DefaultMQPushConsumer pushConsumer(String group, String instance) {
		DefaultMQPushConsumer c = new DefaultMQPushConsumer(name(group));

		c.setNamesrvAddr(namesrv);
		c.setInstanceName(group + "-" + instance);
		c.setMqClientApiTimeout(ANSWER_MS);
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setConsumeThreadMin(4);
		c.setConsumeThreadMax(4);
		/* A rebalance raises the subscription's version, and its heartbeat gets lost when another is under way: Apache's
		 * broker then refuses the pulls (code 25) until the next heartbeat, 30 s later by default. */
		c.setHeartbeatBrokerInterval(1_000);
		return c;
	}

	/* ---- messages ---- */

	static Message message(String topic, String tag, String body) {
		return new Message(topic, tag, body.getBytes(StandardCharsets.UTF_8));
	}

	static String text(Message m) {
		return new String(m.getBody(), StandardCharsets.UTF_8);
	}

	SendResult send(Message m) throws Exception {
		return sent(producer.send(m));
	}

	SendResult send(Message m, int queue) throws Exception {
		return sent(producer.send(m, queue(m.getTopic(), queue)));
	}

	/** Accepts an answered send of one message or a batch, not of a half message, whose place is elsewhere. */
	SendResult sent(SendResult r) {
		check(r.getSendStatus() == SendStatus.SEND_OK, "send status is " + r.getSendStatus());
		ends.merge(r.getMessageQueue(), r.getQueueOffset() + r.getMsgId().split(",").length, Math::max);
		return r;
	}

	/** Waits until everything sent can be read: Apache's broker puts a message into its queue some time after the answer. */
	void settle() throws Exception {
		for (var e : ends.entrySet())
			await("the end of " + e.getKey(), () -> producer.maxOffset(e.getKey()) >= e.getValue());
		ends.clear();
	}

	/** Everything in a topic, by queue and in its order, read without a group. */
	Map<Integer, List<MessageExt>> stored(String topic, int queues) throws Exception {
		Map<Integer, List<MessageExt>> found = new TreeMap<>();

		settle();
		awaitRoute(topic); /* a client that asks too early does not ask again */
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(name("reader"));

		c.setNamesrvAddr(namesrv);
		c.setInstanceName("reader-" + readers.incrementAndGet());
		c.start();
		try {
			for (int id = 0; id < queues; id++) {
				MessageQueue q = queue(topic, id);
				List<MessageExt> list = new ArrayList<>();
				long end = c.maxOffset(q);

				for (long at = c.minOffset(q); at < end;) {
					var r = c.pull(q, "*", at, 32);
					check(r.getPullStatus() == PullStatus.FOUND, "pull at " + at + " of " + end + ": " + r);
					list.addAll(r.getMsgFoundList());
					at = r.getNextBeginOffset();
				}
				found.put(id, list);
			}
		} finally {
			c.shutdown();
		}
		return found;
	}

	/* ---- outcomes ---- */

	/** A fact of this case that must be the same with every server. */
	void outcome(String fact) {
		outcomes.add(fact);
	}

	String outcomesSoFar() {
		return String.join("; ", outcomes);
	}

	/** Takes what the case noted, for its line. */
	String takeOutcomes() {
		String line = String.join("; ", outcomes);

		outcomes.clear();
		return line;
	}

	/** What comes of something that should be refused, without addresses and times. */
	void outcomeOf(String what, Attempt attempt) {
		String got;

		try {
			got = String.valueOf(attempt.run());
		} catch (MQBrokerException e) {
			got = "broker code " + e.getResponseCode() + " " + e.getErrorMessage();
		} catch (MQClientException e) {
			got = "client code " + e.getResponseCode() + " " + e.getErrorMessage();
		} catch (Exception e) {
			got = e.getClass().getSimpleName() + " " + e.getMessage();
		}
		got = got.split("\n")[0].trim().replaceAll("127\\.0\\.0\\.1:\\d+", "HOST:PORT").replaceAll("\\[\\d+\\]ms", "N ms")
				.replaceAll("z{9,}", "zz..");
		outcome(what + ": " + got);
	}

	/** "a=1 b=2": how often each value occurs. */
	static <T extends Comparable<T>> String histogram(Iterable<T> values) {
		Map<T, Integer> counts = new TreeMap<>();
		List<String> parts = new ArrayList<>();

		for (T v : values)
			counts.merge(v, 1, Integer::sum);
		counts.forEach((v, n) -> parts.add(v + "=" + n));
		return String.join(" ", parts);
	}

	static void check(boolean holds, String sentence) {
		if (!holds)
			throw new AssertionError(sentence);
	}

	static void checkEqual(Object got, Object wanted, String what) {
		check(wanted.equals(got), what + " is " + got + ", wanted " + wanted);
	}

	private static final Map<DefaultMQPushConsumer, Long> rebalanced = Collections.synchronizedMap(new WeakHashMap<>());

	/** What the client does every 20 s, for who waits for it. Not with each look: of many requests one is answered late some time; then the
	 * client closes its connection, and Apache's broker may know the member twice, to which half of the queues is all. */
	static void rebalance(DefaultMQPushConsumer c) {
		long now = System.nanoTime();
		Long last = rebalanced.get(c);

		if (last != null && now - last < 250_000_000)
			return;
		rebalanced.put(c, now);
		c.getDefaultMQPushConsumerImpl().doRebalance();
	}

	static void await(String what, Condition condition) throws Exception {
		await(what, DEADLINE_MS, condition);
	}

	static void await(String what, long deadlineMs, Condition condition) throws Exception {
		long deadline = System.nanoTime() + deadlineMs * 1_000_000;

		while (!condition.holds()) {
			check(System.nanoTime() < deadline, "waited " + deadlineMs + " ms for " + what);
			Thread.sleep(20);
		}
	}

	/** Counts what arrives, by text; safe for the listener's threads. */
	static final class Inbox {
		private final Map<String, Integer> count = new HashMap<>();
		private final List<String> order = new ArrayList<>();

		synchronized void add(MessageExt m) {
			count.merge(text(m), 1, Integer::sum);
			order.add(text(m));
		}

		synchronized int size() {
			return order.size();
		}

		synchronized int distinct() {
			return count.size();
		}

		synchronized List<String> order() {
			return new ArrayList<>(order);
		}

		synchronized java.util.Set<String> texts() {
			return new java.util.TreeSet<>(count.keySet());
		}

		synchronized void clear() {
			count.clear();
			order.clear();
		}
	}
}
