// SPDX-License-Identifier: Apache-2.0

import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.producer.SendResult;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Messages found again by key, by unique id and by offset id. */
final class QueryCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("query-by-key", QueryCases::byKey);
		all.put("view-by-unique-id", QueryCases::byUniqueId);
		all.put("view-by-offset-id", QueryCases::byOffsetId);
	}

	private static TreeSet<String> query(World w, String topic, String key) throws Exception {
		var texts = new TreeSet<String>();

		for (MessageExt m : w.producer.queryMessage(topic, key, 32, 0, System.currentTimeMillis() + 60_000)
				.getMessageList())
			texts.add(World.text(m));
		return texts;
	}

	private static void byKey(World w) throws Exception {
		String topic = w.topic("keys", 2);
		String other = w.topic("keys-other", 2);

		for (int i = 0; i < 6; i++) {
			Message m = World.message(i < 4 ? topic : other, "A", "m" + i);

			m.setKeys("common own-" + i);
			w.send(m, i % 2);
		}
		/* Apache builds its index behind the send. */
		World.await("the index", () -> {
			try {
				return query(w, topic, "common").size() == 4 && query(w, other, "common").size() == 2;
			} catch (org.apache.rocketmq.client.exception.MQClientException e) {
				return false;
			}
		});
		w.outcome("common " + query(w, topic, "common") + " and " + query(w, other, "common"));
		w.outcomeOf("own-3", () -> query(w, topic, "own-3"));
		w.outcomeOf("a key of the other topic", () -> query(w, topic, "own-5"));
		w.outcomeOf("absent", () -> query(w, topic, "absent"));
	}

	private static void byUniqueId(World w) throws Exception {
		String topic = w.topic("unique", 2);
		SendResult r = w.send(World.message(topic, "A", "found by unique id"), 0);

		World.await("the index", () -> {
			try {
				return w.producer.viewMessage(topic, r.getMsgId()) != null;
			} catch (org.apache.rocketmq.client.exception.MQClientException e) {
				return false;
			}
		});
		w.outcomeOf("view", () -> World.text(w.producer.viewMessage(topic, r.getMsgId())));
		w.outcomeOf("absent", () -> w.producer.viewMessage(topic, "0".repeat(r.getMsgId().length())));
	}

	private static void byOffsetId(World w) throws Exception {
		String topic = w.topic("viewed", 2);

		for (int i = 0; i < 3; i++) {
			SendResult r = w.send(World.message(topic, "A", "found by offset id " + i), 1);
			MessageExt m = w.producer.viewMessage(topic, r.getOffsetMsgId());

			World.checkEqual(World.text(m), "found by offset id " + i, "body");
			World.checkEqual(m.getQueueOffset(), (long) i, "queue offset");
			World.checkEqual(m.getQueueId(), 1, "queue");
			World.checkEqual(m.getTopic(), topic, "topic");
		}
		w.outcome("found 3");
	}
}
