// SPDX-License-Identifier: Apache-2.0

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.BitSet;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.stream.Collectors;
import java.util.stream.Stream;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.ConsumeOrderlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.consumer.listener.MessageListenerOrderly;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.client.impl.consumer.DefaultMQPushConsumerImpl;
import org.apache.rocketmq.common.TopicConfig;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageDecoder;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * POP: raw requests, for what the client's classes hide, and push consumers whose group reads a topic by popping. The older client has
 * none of it.
 */
final class PopCases {
	private static final int POP = 200050, ACK = 200051, PEEK = 200052, INVISIBLE = 200053, NOTIFY = 200054, POLLING = 200055,
			BATCH_ACK = 200151;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("pop-raw", PopCases::raw);
		all.put("pop-refused", PopCases::refused);
		all.put("pop-again", (Interop.Aside) PopCases::again);
		all.put("pop-batch-ack", (Interop.Aside) PopCases::batchAck);
		all.put("pop-order", PopCases::order);
		all.put("pop-waits", PopCases::waits);
		all.put("pop-assigned", PopCases::assigned);
		all.put("pop-notified", PopCases::notified);
		all.put("pop-priority", PopCases::priority);
		all.put("pop-topic-again", (Interop.Aside) PopCases::topicAgain);
		all.put("pop-push-share", PopCases::pushShare);
		all.put("pop-push-restart", PopCases::pushRestart);
		all.put("pop-push-tags", PopCases::pushTags);
		all.put("pop-push-fails", (Interop.Aside) PopCases::pushFails);
		all.put("pop-push-long-names", (Interop.Aside) PopCases::pushLongNames);
		all.put("pop-push-orderly", PopCases::pushOrderly);
		all.put("pop-push-lost-member", (Interop.Aside) PopCases::pushLostMember);
	}

	/* ---- raw requests ---- */

	private static RemotingCommand ask(World w, int code, byte[] body, Object... fields) throws Exception {
		return askAt(w, w.broker, code, body, fields);
	}

	static RemotingCommand askAt(World w, String broker, int code, byte[] body, Object... fields) throws Exception {
		RemotingCommand request = RemotingCommand.createRequestCommand(code, null);
		HashMap<String, String> ext = new HashMap<>();

		for (int i = 0; i < fields.length; i += 2)
			if (fields[i + 1] != null)
				ext.put((String) fields[i], String.valueOf(fields[i + 1]));
		request.setExtFields(ext);
		request.setBody(body);
		return w.producer.getDefaultMQProducerImpl().getMqClientFactory().getMQClientAPIImpl().getRemotingClient()
				.invokeSync(broker, request, 15_000);
	}

	/** POP_MESSAGE with everything that it needs; `fields` win. Who does not wait was born a minute from now: a busy server is not
	 * to find the request too old. */
	private static RemotingCommand pop(World w, String topic, String group, Object... fields) throws Exception {
		return popAt(w, w.broker, topic, group, fields);
	}

	static RemotingCommand popAt(World w, String broker, String topic, String group, Object... fields) throws Exception {
		Map<String, Object> all = new TreeMap<>(Map.of("consumerGroup", w.name(group), "topic", topic, "queueId", -1, "maxMsgNums",
				32, "invisibleTime", 60_000, "pollTime", 0, "initMode", 0, "expType", "TAG", "exp", "*"));
		List<Object> list = new ArrayList<>();

		all.put("order", false);
		for (int i = 0; i < fields.length; i += 2)
			all.put((String) fields[i], fields[i + 1]);
		all.putIfAbsent("bornTime", System.currentTimeMillis() + (all.get("pollTime").equals(0) ? 60_000 : 0));
		all.forEach((k, v) -> list.addAll(Arrays.asList(k, v)));
		return askAt(w, broker, POP, null, list.toArray());
	}

	private static String sorted(String info) {
		return info == null ? null : Arrays.stream(info.split(";")).sorted().collect(Collectors.joining(";"));
	}

	/** Times and the number of the revive queue out; 999 says that the order is kept. */
	static String plain(RemotingCommand answer) {
		TreeMap<String, String> ext = new TreeMap<>(answer.getExtFields() == null ? Map.of() : answer.getExtFields());

		ext.replaceAll((k, v) -> switch (k) {
			case "popTime" -> "TIME";
			case "reviveQid" -> v.equals("999") ? v : "N";
			case "startOffsetInfo", "msgOffsetInfo", "orderCountInfo" -> sorted(v);
			default -> v;
		});
		ext.keySet().removeAll(List.of("MSG_REGION", "TRACE_ON"));
		/* Apache's broker puts the longer one into answers before their handler speaks. */
		String remark = answer.getRemark() == null || answer.getRemark().equals("not set any response code") ? ""
				: " " + answer.getRemark().split("\n")[0].replaceAll("127\\.0\\.0\\.1(:\\d+)?", "HOST");

		return "code " + answer.getCode() + remark + (ext.isEmpty() ? "" : " " + ext);
	}

	static List<MessageExt> messages(RemotingCommand answer) {
		List<MessageExt> list = answer.getBody() == null ? List.of()
				: MessageDecoder.decodesBatch(java.nio.ByteBuffer.wrap(answer.getBody()), true, true, true);
		List<MessageExt> all = new ArrayList<>(list);

		all.sort((a, b) -> World.text(a).compareTo(World.text(b)));
		return all;
	}

	/** What the records say, in the order of their texts. */
	private static String records(World w, RemotingCommand answer) {
		return messages(answer).stream().map(m -> {
			TreeMap<String, String> properties = new TreeMap<>(m.getProperties());

			properties.replaceAll((k, v) -> switch (k) {
				case "UNIQ_KEY", "1ST_POP_TIME", "ORIGIN_MESSAGE_ID" -> "*";
				case "POP_CK" -> handle(v);
				default -> v;
			});
			return World.text(m) + " in " + m.getTopic() + " " + m.getQueueId() + "@" + m.getQueueOffset() + " times "
					+ m.getReconsumeTimes() + " " + properties;
		}).collect(Collectors.joining(", ", "[", "]"));
	}

	/** Of a handle, all but the time and the revive queue. */
	private static String handle(String handle) {
		String[] parts = handle.split(" ");

		if (parts.length > 3) {
			parts[1] = "TIME";
			if (!parts[3].equals("999"))
				parts[3] = "N";
		}
		return String.join(" ", parts);
	}

	/** The handle of one message of an answer, as the client makes it. */
	static String handleOf(World w, RemotingCommand answer, int mark, MessageExt m) {
		Map<String, String> ext = answer.getExtFields();
		String key = mark + " " + m.getQueueId() + " ";
		String start = Arrays.stream(ext.get("startOffsetInfo").split(";")).filter(s -> s.startsWith(key)).findFirst()
				.orElseThrow(() -> new AssertionError("no " + key + "in " + ext)).split(" ")[2];

		return start + " " + ext.get("popTime") + " " + ext.get("invisibleTime") + " " + ext.get("reviveQid") + " " + mark + " "
				+ w.brokerName + " " + m.getQueueId() + " " + m.getQueueOffset();
	}

	private static RemotingCommand ack(World w, String topic, String group, int queue, long offset, String handle)
			throws Exception {
		return ask(w, ACK, null, "consumerGroup", w.name(group), "topic", topic, "queueId", queue, "offset", offset, "extraInfo",
				handle);
	}

	private static RemotingCommand invisible(World w, String topic, String group, int queue, long offset, String handle, long ms)
			throws Exception {
		return ask(w, INVISIBLE, null, "consumerGroup", w.name(group), "topic", topic, "queueId", queue, "offset", offset,
				"extraInfo", handle, "invisibleTime", ms);
	}

	/** Pops until something comes. Also what follows a pop of the same queue at once: Apache's broker answers before it lets go of the
	 * queue, and gives nothing of one that is held. */
	private static RemotingCommand popSome(World w, String topic, String group, Object... fields) throws Exception {
		return popSomeAt(w, w.broker, topic, group, fields);
	}

	static RemotingCommand popSomeAt(World w, String broker, String topic, String group, Object... fields) throws Exception {
		RemotingCommand[] got = new RemotingCommand[1];

		World.await("a message of " + topic, () -> (got[0] = popAt(w, broker, topic, group, fields)).getCode() == 0);
		return got[0];
	}

	private static void send(World w, String topic, int queue, String tag, String... texts) throws Exception {
		for (String text : texts)
			w.send(World.message(topic, tag, text), queue);
		w.settle();
	}

	/* ---- raw cases ---- */

	/** What pops, acks and the questions between them are answered. */
	private static void raw(World w) throws Exception {
		String topic = w.topic("pop-raw", 2), group = "pop-raw";

		send(w, topic, 0, "A", "a1", "a2", "a3");
		send(w, topic, 1, "B", "b1", "b2");
		Object[] asking = {"consumerGroup", w.name(group), "topic", topic, "queueId", -1, "pollTime", 0, "bornTime",
				System.currentTimeMillis()};

		w.outcome("nothing polls " + plain(ask(w, POLLING, null, "consumerGroup", w.name(group), "topic", topic, "queueId", -1)));
		w.outcome("notification " + plain(ask(w, NOTIFY, null, asking)));
		RemotingCommand first = pop(w, topic, group);

		w.outcome("popped " + plain(first) + " " + records(w, first));
		w.outcome("again " + plain(pop(w, topic, group)));
		w.outcome("notification " + plain(ask(w, NOTIFY, null, asking)));

		MessageExt a1 = messages(first).get(0), a2 = messages(first).get(1);
		String handle = handleOf(w, first, 0, a1);

		w.outcome("ack " + plain(ack(w, topic, group, 0, a1.getQueueOffset(), handle)));
		w.outcome("ack twice " + plain(ack(w, topic, group, 0, a1.getQueueOffset(), handle)));
		w.outcome("ack beyond " + plain(ack(w, topic, group, 0, 99, handle)));
		w.outcome("ack queue 7 " + plain(ack(w, topic, group, 7, 0, handle)));
		w.outcome("ack nowhere " + plain(ack(w, w.name("pop-none"), group, 0, 0, handle)));
		w.outcome("invisible " + plain(invisible(w, topic, group, 0, a2.getQueueOffset(), handleOf(w, first, 0, a2), 30_000)));
		w.outcome("invisible beyond " + plain(invisible(w, topic, group, 0, 99, handleOf(w, first, 0, a2), 30_000)));
		w.outcome("invisible queue 7 " + plain(invisible(w, topic, group, 7, 0, handleOf(w, first, 0, a2), 30_000)));
		w.outcome("invisible nowhere " + plain(invisible(w, w.name("pop-none"), group, 0, 0, handleOf(w, first, 0, a2), 30_000)));

		RemotingCommand peeked = ask(w, PEEK, null, "consumerGroup", w.name("pop-raw-2"), "topic", topic, "queueId", 0, "maxMsgNums", 2);

		w.outcome("peeked " + peeked.getCode() + " " + peeked.getRemark() + " " + messages(peeked).stream().map(World::text).toList());
		w.outcome("of one queue " + plain(pop(w, topic, "pop-raw-2", "queueId", 1, "maxMsgNums", 1)));
		w.outcome("the next " + plain(popSome(w, topic, "pop-raw-2", "queueId", 1, "maxMsgNums", 1)));
		w.outcome("one tag " + plain(pop(w, topic, "pop-raw-3", "exp", "B")));
		w.outcome("new ones only " + plain(pop(w, topic, "pop-raw-4", "initMode", 1)));
	}

	/** Pops that are refused, with codes and words. */
	private static void refused(World w) throws Exception {
		String topic = w.topic("pop-refused", 2), group = "pop-refused";

		w.outcome("33 messages " + plain(pop(w, topic, group, "maxMsgNums", 33)));
		w.outcome("queue 2 " + plain(pop(w, topic, group, "queueId", 2)));
		w.outcome("queue -2 " + pop(w, topic, group, "queueId", -2).getCode());
		w.outcome("no topic " + plain(pop(w, w.name("pop-none"), group)));
		w.outcome("write-only " + plain(pop(w, w.topic("pop-write-only", 1, 2), group)));
		w.outcome("late " + plain(pop(w, topic, group, "bornTime", System.currentTimeMillis() - 100_000)));
		w.outcome("bad expression " + plain(pop(w, topic, group, "expType", "SQL92", "exp", "a >")));
		w.outcome("peek 33 " + plain(ask(w, PEEK, null, "consumerGroup", w.name(group), "topic", topic, "queueId", 0, "maxMsgNums", 33)));
		w.outcome("no notification " + plain(ask(w, NOTIFY, null, "consumerGroup", w.name(group), "topic", w.name("pop-none"),
				"queueId", -1, "pollTime", 0, "bornTime", System.currentTimeMillis())));
		w.outcome("ack garbage " + ack(w, topic, group, 0, 0, "garbage").getCode());
		w.outcome("invisible garbage " + invisible(w, topic, group, 0, 0, "1 2 3", 1_000).getCode());
	}

	/** Not acknowledged in time: once by the time of the pop, once by a changed one. */
	private static void again(World w) throws Exception {
		String topic = w.topic("pop-again", 1), group = "pop-again";

		send(w, topic, 0, "A", "again");
		long before = System.currentTimeMillis();
		RemotingCommand first = pop(w, topic, group, "invisibleTime", 1_500);
		RemotingCommand second = popSome(w, topic, group);

		World.check(System.currentTimeMillis() - before >= 1_500, "it came again while it was invisible");
		w.outcome("first " + plain(first));
		w.outcome("second " + plain(second) + " " + records(w, second));

		MessageExt m = messages(second).get(0);
		/* It lies in the retry topic that the mark names, which the record does not tell; acknowledgements go there. */
		int mark = Integer.parseInt(second.getExtFields().get("startOffsetInfo").split(" ")[0]);
		String retry = "%RETRY%" + w.name(group) + (mark == 2 ? "+" : "_") + topic;

		before = System.currentTimeMillis();
		w.outcome("invisible " + plain(invisible(w, retry, group, 0, m.getQueueOffset(), handleOf(w, second, mark, m), 1_000)));
		w.outcome("old handle " + plain(ack(w, retry, group, 0, m.getQueueOffset(), handleOf(w, second, mark, m))));

		RemotingCommand third = popSome(w, topic, group);

		World.check(System.currentTimeMillis() - before >= 1_000, "it came again while it was invisible");
		w.outcome("third " + plain(third) + " " + records(w, third));
		m = messages(third).get(0);
		w.outcome("ack " + plain(ack(w, retry, group, 0, m.getQueueOffset(), handleOf(w, third, mark, m))));
		w.outcome("then " + plain(pop(w, topic, group)));
	}

	private static String acks(World w, String topic, String group, RemotingCommand from, long start, int... bits) {
		BitSet set = new BitSet();

		for (int bit : bits)
			set.set(bit);
		return "{\"c\":\"" + w.name(group) + "\",\"t\":\"" + topic + "\",\"r\":\"0\",\"so\":" + start + ",\"q\":0,\"rq\":"
				+ from.getExtFields().get("reviveQid") + ",\"pt\":" + from.getExtFields().get("popTime") + ",\"it\":"
				+ from.getExtFields().get("invisibleTime") + ",\"b\":\"" + Base64.getEncoder().encodeToString(set.toByteArray())
				+ "\"}";
	}

	private static RemotingCommand batch(World w, String... acks) throws Exception {
		return ask(w, BATCH_ACK, ("{\"brokerName\":\"" + w.brokerName + "\",\"acks\":[" + String.join(",", acks) + "]}")
				.getBytes(StandardCharsets.UTF_8));
	}

	/** Of six one is put off, two are acknowledged in one request and another in one of its own: the other two come again. */
	private static void batchAck(World w) throws Exception {
		String topic = w.topic("pop-batch", 1), group = "pop-batch";
		List<String> later = new ArrayList<>();

		send(w, topic, 0, "A", "m0", "m1", "m2", "m3", "m4", "m5");
		RemotingCommand first = pop(w, topic, group, "invisibleTime", 8_000); /* a busy machine has time for what follows */

		w.outcome("popped " + plain(first));
		w.outcome("put off " + plain(invisible(w, topic, group, 0, 0, handleOf(w, first, 0, messages(first).get(0)), 60_000)));
		w.outcome("acks " + plain(batch(w, acks(w, topic, group, first, 0, 1, 3))));
		w.outcome("ack " + plain(ack(w, topic, group, 0, 4, handleOf(w, first, 0, messages(first).get(4)))));
		w.outcome("no acks " + plain(batch(w)));
		w.outcome("no such topic " + plain(batch(w, acks(w, w.name("pop-none"), group, first, 0, 0))));
		w.outcome("no body " + ask(w, BATCH_ACK, null).getCode());
		while (later.size() < 2)
			for (MessageExt m : messages(popSome(w, topic, group)))
				later.add(World.text(m) + " times " + m.getReconsumeTimes());
		Collections.sort(later);
		w.outcome("later " + later);
	}

	/** Order kept: one at a time per queue, again to who tries again, on when it is acknowledged. */
	private static void order(World w) throws Exception {
		String topic = w.topic("pop-order", 1), group = "pop-order";
		Object[] one = {"order", true, "maxMsgNums", 1, "attemptId", "one"}, two = {"order", true, "maxMsgNums", 1, "attemptId", "two"};

		send(w, topic, 0, "A", "o0", "o1", "o2");
		RemotingCommand first = pop(w, topic, group, one);

		w.outcome("first " + plain(first) + " " + records(w, first));
		w.outcome("another attempt " + plain(pop(w, topic, group, two)));
		long before = System.currentTimeMillis();
		World.await("the next millisecond", () -> System.currentTimeMillis() > before + 1);
		RemotingCommand same = popSome(w, topic, group, one);

		w.outcome("the same attempt " + plain(same) + " " + messages(same).stream().map(World::text).toList());
		w.outcome("ack of its first answer " + plain(ack(w, topic, group, 0, 0, handleOf(w, first, 0, messages(first).get(0)))));
		w.outcome("another attempt still " + plain(pop(w, topic, group, two)));
		w.outcome("ack " + plain(ack(w, topic, group, 0, 0, handleOf(w, same, 0, messages(same).get(0)))));
		RemotingCommand second = popSome(w, topic, group, two);

		w.outcome("then " + plain(second) + " " + messages(second).stream().map(World::text).toList());
		RemotingCommand putOff = invisible(w, topic, group, 0, 1, handleOf(w, second, 0, messages(second).get(0)), 1_000);
		/* Where the order is kept, it counts from the pop. */
		World.check(Long.parseLong(putOff.getExtFields().put("invisibleTime", "MORE")) >= 1_000, "put off for less than a second");
		w.outcome("invisible " + plain(putOff));
		RemotingCommand third = popSome(w, topic, group, "order", true, "maxMsgNums", 2, "attemptId", "three");

		w.outcome("later " + plain(third) + " " + messages(third).stream().map(m -> World.text(m) + " times " + m.getReconsumeTimes()).toList());
		w.outcome("ack of the second " + plain(ack(w, topic, group, 0, 2, handleOf(w, third, 0, messages(third).get(1)))));
		RemotingCommand fourth = popSome(w, topic, group, "order", true, "maxMsgNums", 2, "attemptId", "three");

		w.outcome("from the first " + plain(fourth) + " " + messages(fourth).stream().map(World::text).toList());
	}

	/** Long polling: a pop and a notification wait, a message wakes them; time ends them. */
	private static void waits(World w) throws Exception {
		String topic = w.topic("pop-waits", 1), group = "pop-waits";
		Map<String, String> got = new ConcurrentHashMap<>();
		List<Thread> threads = new ArrayList<>();

		w.outcome("nothing comes " + plain(pop(w, topic, group, "pollTime", 1_000)));
		w.outcome("nothing to tell " + plain(ask(w, NOTIFY, null, "consumerGroup", w.name(group), "topic", topic, "queueId", -1,
				"pollTime", 1_000, "bornTime", System.currentTimeMillis())));
		/* At the end of its time a pop looks once more, but ask() does not wait for that. */
		threads.add(new Thread(() -> put(got, "pop", () -> plain(pop(w, topic, group, "pollTime", 60_000)))));
		threads.add(new Thread(() -> put(got, "notification", () -> plain(ask(w, NOTIFY, null, "consumerGroup",
				w.name("pop-waits-2"), "topic", topic, "queueId", 0, "pollTime", 60_000, "bornTime", System.currentTimeMillis())))));
		threads.forEach(Thread::start);
		World.await("two that wait", () -> polls(w, topic, group) == 1 && polls(w, topic, "pop-waits-2") == 0);
		send(w, topic, 0, "A", "wakes");
		/* Nothing tells that the notification waits, and Apache's broker looks before it notes who does: what comes between the two wakes
		 * nobody. The next message does. */
		long[] sent = {System.nanoTime()};
		World.await("both answers", () -> {
			if (!got.containsKey("notification") && System.nanoTime() - sent[0] > 3_000_000_000L) {
				send(w, topic, 0, "A", "wakes later");
				sent[0] = System.nanoTime();
			}
			return got.size() == 2;
		});
		for (Thread t : threads)
			t.join();
		w.outcome("woken " + new TreeMap<>(got));
	}

	private static RemotingCommand ask(World w, String topic, String group, int pollMs, String type, String expression) throws Exception {
		return ask(w, NOTIFY, null, "consumerGroup", w.name(group), "topic", topic, "queueId", 0, "pollTime", pollMs, "bornTime",
				System.currentTimeMillis(), "expType", type, "exp", expression);
	}

	/** A notification of certain tags. */
	private static void notified(World w) throws Exception {
		String topic = w.topic("pop-notified", 1), group = "pop-notified";
		Map<String, String> got = new ConcurrentHashMap<>();

		send(w, topic, 0, "A", "a1", "a2");
		w.outcome("tag A " + plain(ask(w, topic, group, 0, "TAG", "A")));
		w.outcome("tag B " + plain(ask(w, topic, group, 0, "TAG", "B")));
		w.outcome("B or A " + plain(ask(w, topic, group, 0, "TAG", "B || A")));
		w.outcome("any " + plain(ask(w, topic, group, 0, "TAG", "*")));
		w.outcome("no type " + plain(ask(w, topic, group, 0, null, "B")));
		w.outcome("SQL " + plain(ask(w, topic, group, 0, "SQL92", "a > 1")));
		w.outcome("bad SQL " + plain(ask(w, topic, group, 0, "SQL92", "a >")));
		w.outcome("unknown type " + plain(ask(w, topic, group, 0, "XPATH", "a")));

		Thread waits = new Thread(() -> put(got, "B", () -> plain(ask(w, topic, group, 15_000, "TAG", "B")) + " of "
				+ w.producer.maxOffset(w.queue(topic, 0))));
		waits.start();
		send(w, topic, 0, "A", "a3");
		send(w, topic, 0, "C", "c1");
		w.outcome("not woken " + got);
		send(w, topic, 0, "B", "b1");
		waits.join();
		w.outcome("woken " + got);
	}

	/** The property names the queue; a pop begins with the highest. */
	private static void priority(World w) throws Exception {
		String topic = w.topic("pop-priority", 4), group = "pop-priority";
		TopicConfig config = new TopicConfig(topic, 4, 4, 6);
		List<String> order = new ArrayList<>();

		config.getAttributes().put("+message.type", "PRIORITY");
		w.admin.createAndUpdateTopicConfig(w.broker, config);
		for (int priority : new int[] {0, 2, 1, 3, 9, 2}) {
			Message m = World.message(topic, "A", "priority " + priority);

			m.setPriority(priority);
			w.outcome(World.text(m) + " to queue " + w.send(m, 1).getMessageQueue().getQueueId());
		}
		for (String other : List.of("__SHARDINGKEY", "DELAY")) {
			Message m = World.message(w.topic("pop-priority-" + other, 4), "A", other);

			m.setPriority(3);
			MessageAccessor.putProperty(m, other, other.equals("DELAY") ? "1" : "true");
			var sent = w.producer.send(m, w.queue(m.getTopic(), 1));
			w.outcome("with " + other + " to queue " + sent.getMessageQueue().getQueueId());
			World.await("it", () -> w.producer.maxOffset(w.queue(m.getTopic(), 1)) == 1);
			w.outcome("which keeps it " + (w.stored(m.getTopic(), 2).get(1).get(0).getProperty("_SYS_MSG_PRIORITY_") != null));
		}
		Message plain = World.message(w.topic("pop-priority-none", 4), "A", "plain topic");

		plain.setPriority(3);
		w.outcome("in a topic of no type to queue " + w.send(plain, 1).getMessageQueue().getQueueId());
		w.settle();
		for (int i = 0; i < 6; i++) {
			RemotingCommand got = pop(w, topic, group, "maxMsgNums", 1);

			order.add(messages(got).stream().map(World::text).toList() + " " + handle(got.getExtFields().get("msgOffsetInfo")));
		}
		w.outcome("came " + order);
		w.outcome("together " + plain(pop(w, topic, "pop-priority-2", "maxMsgNums", 5)));
	}

	/** A topic is made again: what a group popped from the old one and never acknowledged does not come from the new one. */
	private static void topicAgain(World w) throws Exception {
		String topic = w.topic("pop-topic-again", 1), group = "pop-topic-again", retry = "%RETRY%" + w.name(group) + "_" + topic;

		w.admin.setMessageRequestMode(w.broker, topic, w.name(group), MessageRequestMode.POP, 0, 5_000);
		send(w, topic, 0, "A", "old 1", "old 2");
		RemotingCommand first = pop(w, topic, group, "invisibleTime", 1_000, "maxMsgNums", 1);

		w.outcome("popped " + messages(first).stream().map(World::text).toList());
		World.await("its return", () -> {
			try {
				return w.producer.maxOffset(w.queue(retry, 0)) == 1;
			} catch (Exception e) {
				return false;
			}
		});
		w.admin.deleteTopicInBroker(Set.of(w.broker), topic);
		w.outcomeOf("the retry topic", () -> w.admin.examineTopicConfig(w.broker, retry));
		w.topic("pop-topic-again", 1);
		w.outcome("then " + plain(pop(w, topic, group)));
		send(w, topic, 0, "A", "new");
		RemotingCommand last = popSome(w, topic, group);

		w.outcome("at last " + plain(last) + " " + messages(last).stream().map(World::text).toList());
		w.outcome("is popped still " + new String(ask(w, 402, null).getBody(), StandardCharsets.UTF_8).contains(topic));
	}

	private static int polls(World w, String topic, String group) throws Exception {
		return Integer.parseInt(ask(w, POLLING, null, "consumerGroup", w.name(group), "topic", topic, "queueId", -1)
				.getExtFields().get("pollingNum"));
	}

	private static void put(Map<String, String> got, String name, World.Attempt attempt) {
		try {
			got.put(name, String.valueOf(attempt.run()));
		} catch (Exception e) {
			got.put(name, e.toString());
		}
	}

	/** For BrokerCases: pops of a queue whose first messages are gone, by groups that are new and one that was there before. */
	static String old(World w, String broker, String topic, String when, String behind) throws Exception {
		List<String> got = new ArrayList<>();

		for (String group : List.of("old-first-" + when, "old-last-" + when, "old-first-pop", "old-last-pop", behind)) {
			RemotingCommand answer = popAt(w, broker, topic, group, "queueId", 0, "maxMsgNums", 2,
					"initMode", group.startsWith("old-last") ? 1 : 0);
			TreeMap<String, String> ext = new TreeMap<>(answer.getExtFields());

			ext.keySet().retainAll(List.of("startOffsetInfo", "msgOffsetInfo", "restNum"));
			got.add(group + " " + answer.getCode() + " " + ext);
		}
		return String.join(", ", got);
	}

	/* ---- push consumers ---- */

	/** A member whose queues the broker assigns. What fails comes again after a second, not ten. */
	static DefaultMQPushConsumer member(World w, String group, String instance, String topic, String tags) throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);
		var levels = DefaultMQPushConsumerImpl.class.getDeclaredField("popDelayLevel");

		c.setClientRebalance(false);
		c.subscribe(topic, tags);
		levels.setAccessible(true);
		Arrays.fill((int[]) levels.get(c.getDefaultMQPushConsumerImpl()), 1);
		return c;
	}

	static void start(DefaultMQPushConsumer c, String topic) throws Exception {
		c.start();
		World.await("something to pop", () -> {
			World.rebalance(c);
			return c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getPopProcessQueueTable().keySet().stream()
					.anyMatch(q -> q.getTopic().equals(topic));
		});
	}

	/** "[0, 1]": the queues of a topic that a member pulls or pops. */
	private static String queuesOf(DefaultMQPushConsumer c, String topic) {
		var rebalance = c.getDefaultMQPushConsumerImpl().getRebalanceImpl();

		return Stream.concat(rebalance.getProcessQueueTable().keySet().stream(), rebalance.getPopProcessQueueTable().keySet().stream())
				.filter(q -> q.getTopic().equals(topic)).map(MessageQueue::getQueueId).sorted().toList().toString();
	}

	private static void awaitQueues(Map<DefaultMQPushConsumer, String> wanted, String topic) throws Exception {
		World.await("the queues " + wanted.values(), () -> {
			wanted.keySet().forEach(World::rebalance);
			return wanted.entrySet().stream().allMatch(e -> queuesOf(e.getKey(), topic).equals(e.getValue()));
		});
	}

	/** The broker shares the queues among the members: each pulls its own, or pops its own and those of the next. */
	private static void assigned(World w) throws Exception {
		String group = "pop-assigned", topic = w.topic(group, 6);
		World.Inbox inbox = new World.Inbox();
		List<DefaultMQPushConsumer> members = new ArrayList<>();

		try {
			for (int i = 2; i >= 0; i--) { /* the last first: their order is that of their names */
				DefaultMQPushConsumer c = member(w, group, "member-" + i, topic, "*");

				members.add(0, c);
				c.registerMessageListener(takes(inbox));
				c.start();
			}
			awaitQueues(Map.of(members.get(0), "[0, 1]", members.get(1), "[2, 3]", members.get(2), "[4, 5]"), topic);
			for (int i = 0; i < 60; i++)
				w.send(World.message(topic, "A", "m" + i), i % 6);
			World.await("60 messages", () -> inbox.distinct() == 60);
			w.outcome("pulled " + inbox.size());
			w.admin.setMessageRequestMode(w.broker, topic, w.name(group), MessageRequestMode.POP, 1, 5_000);
			awaitQueues(Map.of(members.get(0), "[0, 1, 2, 3]", members.get(1), "[2, 3, 4, 5]", members.get(2), "[0, 1, 4, 5]"), topic);
			w.outcome("popped by two each");
		} finally {
			members.forEach(DefaultMQPushConsumer::shutdown);
		}
	}

	/** A topic that this group pops. */
	private static String popTopic(World w, String name, String group, int queues, int share) throws Exception {
		String topic = w.topic(name, queues);

		w.admin.setMessageRequestMode(w.broker, topic, w.name(group), MessageRequestMode.POP, share, 5_000);
		return topic;
	}

	private static String popTopic(World w, String name, int queues, int share) throws Exception {
		return popTopic(w, name, name, queues, share);
	}

	static MessageListenerConcurrently takes(World.Inbox inbox) {
		return (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		};
	}

	/** Everything is acknowledged: nothing left to give, and nothing comes again. */
	private static void settled(World w, String topic, String group) throws Exception {
		w.outcome("left to pop " + plain(pop(w, topic, group)));
	}

	/** Two members of one group pop the same queues; nothing twice, nothing lost. */
	private static void pushShare(World w) throws Exception {
		String group = "pop-share", topic = popTopic(w, group, 4, 0);
		World.Inbox inbox = new World.Inbox();
		Map<String, Integer> by = new ConcurrentHashMap<>();
		List<DefaultMQPushConsumer> members = List.of(member(w, group, "pop-share-0", topic, "*"), member(w, group, "pop-share-1", topic, "*"));

		for (DefaultMQPushConsumer c : members) {
			c.setPopBatchNums(4);
			c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
				messages.forEach(inbox::add);
				by.merge(c.getInstanceName(), messages.size(), Integer::sum);
				return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
			});
			start(c, topic);
		}
		try {
			for (int i = 0; i < 400; i++)
				w.send(World.message(topic, "A", "m" + i), i % 4);
			World.await("all messages", () -> inbox.distinct() == 400);
			w.outcome("came " + inbox.size() + " of " + inbox.distinct() + " by " + by.size() + " members");
			settled(w, topic, group);
			World.await("no lag", () -> w.lag(group) == 0);
			w.outcome("lag " + w.lag(group));
		} finally {
			members.forEach(DefaultMQPushConsumer::shutdown);
		}
	}

	/** A member goes and comes back: what was sent meanwhile is there, what was acknowledged is not. */
	private static void pushRestart(World w) throws Exception {
		String group = "pop-restart", topic = popTopic(w, group, 2, 0);
		World.Inbox inbox = new World.Inbox();

		for (String part : List.of("before", "after")) {
			DefaultMQPushConsumer c = member(w, group, "pop-" + part, topic, "*");

			send(w, topic, 0, "A", part + " 1", part + " 2");
			send(w, topic, 1, "A", part + " 3");
			c.registerMessageListener(takes(inbox));
			/* What the broker gave to the pop that waited as its member went comes again when this is over. */
			c.setPopInvisibleTime(10_000);
			start(c, topic);
			try {
				World.await("all messages", () -> inbox.distinct() == (part.equals("before") ? 3 : 6));
				/* The acknowledgements are on their way. */
				World.await("no lag", () -> w.lag(group) == 0);
			} finally {
				c.shutdown();
			}
		}
		w.outcome("came " + inbox.order().stream().sorted().toList());
	}

	private static void pushTags(World w) throws Exception {
		String group = "pop-tags", topic = popTopic(w, group, 2, 0);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = member(w, group, "pop-tags", topic, "A || C");

		for (String tag : List.of("A", "B", "C", "D", "A"))
			send(w, topic, 0, tag, "tag " + tag + " " + tag.hashCode());
		send(w, topic, 1, "C", "the last");
		c.registerMessageListener(takes(inbox));
		start(c, topic);
		try {
			World.await("four messages", () -> inbox.size() >= 4);
			World.await("no lag", () -> w.lag(group) == 0);
			w.outcome("came " + inbox.order().stream().sorted().toList());
		} finally {
			c.shutdown();
		}
	}

	/** The first delivery fails, and the second; then it is consumed. */
	private static void pushFails(World w) throws Exception {
		String group = "pop-fails", topic = popTopic(w, group, 1, 0);
		List<MessageExt> seen = new CopyOnWriteArrayList<>();
		DefaultMQPushConsumer c = member(w, group, "pop-fails", topic, "*");

		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			seen.addAll(messages);
			return messages.get(0).getReconsumeTimes() < 2 && World.text(messages.get(0)).equals("fails")
					? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		start(c, topic);
		try {
			send(w, topic, 0, "A", "fails", "passes");
			World.await("three deliveries", () -> seen.size() >= 3);
			World.await("the last one", () -> seen.size() == 4);
			w.outcome("came " + seen.stream().map(m -> World.text(m) + " times " + m.getReconsumeTimes() + " in " + m.getTopic())
					.sorted().toList());
			World.await("no lag", () -> w.lag(group) == 0);
			settled(w, topic, group);
		} finally {
			c.shutdown();
		}
	}

	/** The longest names: a topic of 255 bytes for what fails, which only records of version 2 can tell. */
	private static void pushLongNames(World w) throws Exception {
		String group = w.longName("pop-long-", 120).substring(w.name("").length());
		String topic = popTopic(w, w.longName("pop-long-", 127).substring(w.name("").length()), group, 1, 0);
		String retry = "%RETRY%" + w.name(group) + "_" + topic;
		List<String> seen = new CopyOnWriteArrayList<>();
		DefaultMQPushConsumer c = member(w, group, "pop-long", topic, "*");
		Message message = World.message(topic, "A", "long");

		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			MessageExt m = messages.get(0);

			seen.add(World.text(m) + " times " + m.getReconsumeTimes() + " in its topic " + m.getTopic().equals(topic));
			return seen.size() < 3 ? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		start(c, topic);
		try {
			message.setKeys("key-of-" + group);
			w.send(message, 0);
			World.await("three deliveries", () -> seen.size() >= 3);
			w.outcome("came " + seen);
			World.await("no lag", () -> w.lag(group) == 0);
			settled(w, topic, group);
		} finally {
			c.shutdown();
		}
		World.await("a route to " + retry.length() + " bytes", () -> {
			try {
				return !w.admin.examineTopicRouteInfo(retry).getQueueDatas().isEmpty();
			} catch (Exception e) {
				return false;
			}
		});
		for (MessageExt m : w.stored(retry, 1).get(0))
			w.outcome("stored " + World.text(m) + " times " + m.getReconsumeTimes() + " in the retry topic " + m.getTopic().equals(retry)
					+ " keys " + m.getKeys().equals(message.getKeys()) + " properties "
					+ m.getProperties().keySet().stream().sorted().toList());
		w.outcome("status " + w.admin.examineTopicStats(retry).getOffsetTable().values().stream()
				.map(o -> o.getMinOffset() + ".." + o.getMaxOffset()).toList());
		World.await("the index", () -> found(w, retry, message.getKeys()) == 2);
		w.outcome("by key " + found(w, retry, message.getKeys()));
	}

	/** How many messages have this key; none is an exception. */
	private static int found(World w, String topic, String key) throws Exception {
		try {
			return w.admin.queryMessage(topic, key, 32, 0, Long.MAX_VALUE).getMessageList().size();
		} catch (MQClientException e) {
			return 0;
		}
	}

	/** Orderly listeners do not ask the broker: their members share queues among themselves and pull. */
	private static void pushOrderly(World w) throws Exception {
		String group = "pop-orderly", topic = popTopic(w, group, 2, 0);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = member(w, group, "pop-orderly", topic, "*");

		c.registerMessageListener((MessageListenerOrderly) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeOrderlyStatus.SUCCESS;
		});
		send(w, topic, 0, "A", "o0", "o1", "o2", "o3");
		c.start();
		try {
			World.await("all messages", () -> inbox.size() >= 4);
			w.outcome("came " + inbox.order() + ", pulls "
					+ c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
							.anyMatch(q -> q.getTopic().equals(topic)));
		} finally {
			c.shutdown();
		}
	}

	/** A member that never answers for its message: when its time is over, another one gets it. */
	private static void pushLostMember(World w) throws Exception {
		String group = "pop-lost", topic = popTopic(w, group, 1, 0);
		World.Inbox held = new World.Inbox(), inbox = new World.Inbox();
		CountDownLatch end = new CountDownLatch(1);
		DefaultMQPushConsumer lost = member(w, group, "pop-lost", topic, "*"), heir = member(w, group, "pop-heir", topic, "*");

		lost.setPopInvisibleTime(5_000);
		lost.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(held::add);
			while (end.getCount() > 0) {
				try {
					end.await();
				} catch (InterruptedException e) {
					/* It is told to stop, and does not hear it. */
				}
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		heir.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			for (MessageExt m : messages) {
				w.outcome("came again: times " + m.getReconsumeTimes() + " in " + m.getTopic());
				inbox.add(m);
			}
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		try {
			start(lost, topic);
			send(w, topic, 0, "A", "lost");
			World.await("the first delivery", () -> held.size() == 1);
			lost.shutdown();
			start(heir, topic);
			World.await("the second", () -> inbox.size() == 1);
		} finally {
			end.countDown();
			heir.shutdown();
		}
	}
}
