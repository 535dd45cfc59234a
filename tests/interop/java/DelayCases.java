// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages for later: levels, timers, recall. Apache's broker delivers timers up to a second late, so nothing here says how late. */
final class DelayCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("delay-level", DelayCases::level);
		all.put("delay-order", DelayCases::order);
		all.put("delay-push", DelayCases::push);
		all.put("delay-progress", DelayCases::progress);
		all.put("delay-at-once", DelayCases::atOnce);
		all.put("delay-timer", DelayCases::timer);
		all.put("delay-refused", DelayCases::refused);
		all.put("delay-recall", DelayCases::recall);
	}

	private static String progress16(World w) throws Exception {
		return w.admin.fetchBrokerRuntimeStats(w.broker).getTable().get("scheduleMessageOffset_16");
	}

	/** What tools show of a level, one that no other case uses: how much of it is delivered, and how much there is. */
	private static void progress(World w) throws Exception {
		String topic = w.topic("delay-progress", 1);

		w.outcome("unused " + progress16(w));
		for (int i = 0; i < 3; i++)
			send(w, delayed(topic, "m" + i, "DELAY", 16));
		World.await("three messages", () -> w.producer.maxOffset(w.queue(topic, 0)) == 3);
		World.await("all of them noted", () -> "3,3".equals(progress16(w)));
		w.outcome("delivered " + progress16(w));
	}

	static Message delayed(String topic, String body, String property, Object value) {
		Message m = World.message(topic, "A", body);

		m.setKeys(body);
		MessageAccessor.putProperty(m, property, String.valueOf(value)); /* as the setters of 5.x do */
		return m;
	}

	/** Sends to queue 0 and does not expect the message there at once. */
	static SendResult send(World w, Message m) throws Exception {
		return w.producer.send(m, w.queue(m.getTopic(), 0));
	}

	/** What came to queue 0, once there are so many. */
	static List<MessageExt> delivered(World w, String topic, int count) throws Exception {
		World.await(count + " messages in " + topic, () -> w.producer.maxOffset(w.queue(topic, 0)) >= count);
		return w.stored(topic, 1).get(0);
	}

	/** Properties without those whose value is a time or an id. */
	static Map<String, String> shown(MessageExt m) {
		Map<String, String> properties = new TreeMap<>(m.getProperties());

		properties.keySet().remove("UNIQ_KEY");
		for (String time : new String[] {"TIMER_OUT_MS", "TIMER_ENQUEUE_MS", "TIMER_DEQUEUE_MS", "TIMER_DELIVER_MS"})
			properties.computeIfPresent(time, (name, value) -> value.matches("\\d{13}") ? "TIME" : value);
		return properties;
	}

	private static void level(World w) throws Exception {
		String topic = w.topic("delay-level", 1);
		Message m = World.message(topic, "A", "later");

		m.setDelayTimeLevel(2);
		m.putUserProperty("TIMER_NOTHING", "x");
		long before = System.currentTimeMillis();
		SendResult r = send(w, m);

		World.checkEqual(r.getMessageQueue(), w.queue(topic, 0), "queue in the answer");
		World.checkEqual(w.producer.maxOffset(w.queue(topic, 0)), 0L, "end of the queue before it is due");

		MessageExt got = delivered(w, topic, 1).get(0);

		World.check(got.getStoreTimestamp() >= before + 5_000, "it came after " + (got.getStoreTimestamp() - before) + " ms");
		World.checkEqual(got.getBornTimestamp() >= before && got.getBornTimestamp() < before + 4_000, true, "born when sent");
		w.outcome("properties " + shown(got));
		w.outcome("flag " + got.getFlag() + " sysFlag " + got.getSysFlag() + " reconsumeTimes " + got.getReconsumeTimes() + " queue "
				+ got.getQueueId() + " offset " + got.getQueueOffset() + " prepared " + got.getPreparedTransactionOffset());
	}

	/** A later send with a shorter delay overtakes; of one level, the order is kept. */
	private static void order(World w) throws Exception {
		String topic = w.topic("delay-order", 1);
		List<String> got = new ArrayList<>();

		for (int i = 0; i < 5; i++)
			send(w, delayed(topic, "long " + i, "DELAY", 2));
		for (int i = 0; i < 5; i++)
			send(w, delayed(topic, "short " + i, "DELAY", 1));
		for (MessageExt m : delivered(w, topic, 10))
			got.add(World.text(m));
		w.outcome(String.join(", ", got));
	}

	/** A push consumer gets each once, not early, and by its tag. */
	private static void push(World w) throws Exception {
		String topic = w.topic("delay-push", 2);
		World.Inbox inbox = new World.Inbox();
		List<String> early = new ArrayList<>();
		DefaultMQPushConsumer c = w.pushConsumer("delay-push", "delay-push");

		c.subscribe(topic, "A");
		c.registerMessageListener((List<MessageExt> list, org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyContext x) -> {
			for (MessageExt m : list) {
				inbox.add(m);
				if (World.text(m).startsWith("push") && System.currentTimeMillis() - m.getBornTimestamp() < 1_000)
					synchronized (early) {
						early.add(World.text(m));
					}
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		c.start();
		try {
			for (int i = 0; i < 40; i++) {
				Message m = World.message(topic, i % 2 == 0 ? "A" : "B", "push " + i);

				m.setDelayTimeLevel(1);
				w.producer.send(m);
			}
			World.await("delayed messages", () -> inbox.distinct() >= 20);
			/* Behind them, so that a second delivery of any would have come before. */
			w.producer.send(World.message(topic, "A", "last"), w.queue(topic, 0));
			w.producer.send(World.message(topic, "A", "last too"), w.queue(topic, 1));
			World.await("the last", () -> inbox.distinct() >= 22);
			w.outcome("got " + inbox.size() + ", early " + early.size());
		} finally {
			c.shutdown();
		}
	}

	/** Levels that are none, and one beyond the last, which is the last. */
	private static void atOnce(World w) throws Exception {
		String topic = w.topic("delay-at-once", 1);

		for (int level : new int[] {0, -1})
			w.send(delayed(topic, "level " + level, "DELAY", level), 0);
		List<String> got = new ArrayList<>();

		for (MessageExt m : w.stored(topic, 1).get(0))
			got.add(World.text(m) + " " + shown(m).get("DELAY") + " " + shown(m).get("REAL_TOPIC"));
		w.outcome(String.join(", ", got));
		/* It waits in the queue of the last level, at the end. */
		String waits = "SCHEDULE_TOPIC_XXXX";
		SendResult r = send(w, delayed(topic, "level 99", "DELAY", 99));
		MessageExt m = waiting(w, waits, 17, r.getQueueOffset());

		w.outcome("level 99 waits as " + m.getTopic() + " " + World.text(m) + " DELAY " + m.getProperty("DELAY"));
	}

	static MessageExt waiting(World w, String topic, int queue, long offset) throws Exception {
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("waiting"));

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("waiting");
		c.start();
		try {
			World.await("the one that waits", () -> c.maxOffset(w.queue(topic, queue)) > offset);
			return c.pull(w.queue(topic, queue), "*", offset, 1).getMsgFoundList().get(0);
		} finally {
			c.shutdown();
		}
	}

	private static void timer(World w) throws Exception {
		String topic = w.topic("delay-timer", 1);
		long before = System.currentTimeMillis();

		SendResult r = send(w, delayed(topic, "past", "TIMER_DELIVER_MS", before - 1));
		send(w, delayed(topic, "deliver", "TIMER_DELIVER_MS", before + 7_500));
		send(w, delayed(topic, "seconds", "TIMER_DELAY_SEC", 5));
		send(w, delayed(topic, "milliseconds", "TIMER_DELAY_MS", 2_500));

		w.outcome("past is at " + r.getQueueOffset());
		long[] delays = {0, 2_500, 5_000, 7_500};

		for (MessageExt m : delivered(w, topic, 4)) {
			World.check(m.getStoreTimestamp() >= before + delays[(int) m.getQueueOffset()],
					World.text(m) + " came after " + (m.getStoreTimestamp() - before) + " ms");
			w.outcome(World.text(m) + " " + shown(m));
		}
	}

	private static void refused(World w) throws Exception {
		String topic = w.topic("delay-refused", 1);
		String[][] wrong = {{"TIMER_DELAY_SEC", "259201"}, {"TIMER_DELAY_MS", "soon"}, {"TIMER_DELIVER_MS", "9000000000000"}};

		for (String[] p : wrong)
			w.outcomeOf(p[0] + "=" + p[1], () -> send(w, delayed(topic, "x", p[0], p[1])).getSendStatus());
		w.outcomeOf("three days", () -> send(w, delayed(topic, "x", "TIMER_DELAY_SEC", 259_199)).getSendStatus());
	}

	/** By reflection: clients of 4.9 have no recall, and compile this too. */
	private static Object recall(World w, String topic, String handle) throws Exception {
		try {
			return w.producer.getClass().getMethod("recallMessage", String.class, String.class).invoke(w.producer, topic, handle);
		} catch (java.lang.reflect.InvocationTargetException e) {
			throw (Exception) e.getCause();
		}
	}

	private static void recall(World w) throws Exception {
		String topic = w.topic("delay-recall", 1), other = w.topic("delay-recall-other", 1);
		java.lang.reflect.Method getHandle;

		try {
			getHandle = SendResult.class.getMethod("getRecallHandle");
		} catch (NoSuchMethodException e) {
			w.outcome("not in this client");
			return;
		}
		SendResult recalled = send(w, delayed(topic, "recalled", "TIMER_DELAY_MS", 8_000));
		String handle = (String) getHandle.invoke(recalled);

		w.outcome("id is that of the message: " + recall(w, topic, handle).equals(recalled.getMsgId()));
		send(w, delayed(topic, "not recalled", "TIMER_DELAY_MS", 8_000));
		w.outcome("no handle: " + getHandle.invoke(send(w, delayed(other, "x", "DELAY", 1))));
		w.outcomeOf("again", () -> recall(w, topic, handle).equals(recalled.getMsgId()));
		w.outcomeOf("as of another topic", () -> recall(w, other, handle));
		w.outcomeOf("no handle", () -> recall(w, topic, "nonsense"));
		/* Times are apart by more than either server may be late. */
		send(w, delayed(topic, "last", "TIMER_DELAY_MS", 12_000));
		List<String> got = new ArrayList<>();

		for (MessageExt m : delivered(w, topic, 2))
			got.add(World.text(m));
		w.outcome(String.join(", ", got));
		w.outcomeOf("too late", () -> recall(w, topic, handle));
	}
}
