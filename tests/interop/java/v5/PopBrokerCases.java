// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.concurrent.CopyOnWriteArrayList;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageRequestMode;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/**
 * POP with settings of the broker that other cases could not live with, those of BrokerCases' brokers: the second retry topic, queues that
 * the broker does not share, and a limit of what is in flight.
 */
final class PopBrokerCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("pop-retry-v2", PopBrokerCases::retryV2);
		all.put("pop-assigned-all", PopBrokerCases::assignedAll);
		all.put("pop-in-flight", PopBrokerCases::inFlight);
	}

	private static String popTopic(World w, String b, String name, int queues) throws Exception {
		String topic = BrokerCases.topic(w, name, queues, "broker-b");

		w.admin.setMessageRequestMode(b, topic, w.name(name), MessageRequestMode.POP, 0, 5_000);
		return topic;
	}

	/** What fails comes again in %RETRY%group+topic. */
	private static void retryV2(World w) throws Exception {
		String b = BrokerCases.address(w, "broker-b"), group = "pop-v2", topic = popTopic(w, b, group, 1);
		String v1 = "%RETRY%" + w.name(group) + "_" + topic, v2 = "%RETRY%" + w.name(group) + "+" + topic;
		List<String> seen = new CopyOnWriteArrayList<>();

		DefaultMQPushConsumer c = PopCases.member(w, group, "pop-v2", topic, "*");

		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			for (MessageExt m : messages)
				seen.add(World.text(m) + " times " + m.getReconsumeTimes() + " in its topic " + m.getTopic().equals(topic));
			return World.text(messages.get(0)).equals("fails") && messages.get(0).getReconsumeTimes() < 2
					? ConsumeConcurrentlyStatus.RECONSUME_LATER : ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		try {
			PopCases.start(c, topic);
			w.sent(w.producer.send(World.message(topic, "A", "fails"), BrokerCases.onB(topic, 0)));
			World.await("three deliveries", () -> seen.size() == 3);
			w.outcome("came " + seen.stream().sorted().toList());
			World.await("no lag", () -> w.lag(group) == 0);
			w.outcome("in v2 " + end(w, v2));
			w.outcomeOf("v1", () -> w.admin.examineTopicConfig(b, v1));
			w.outcome("left to pop " + PopCases.plain(PopCases.popAt(w, b, topic, group)));
		} finally {
			c.shutdown();
		}
	}

	private static long end(World w, String topic) {
		try {
			return w.producer.maxOffset(BrokerCases.onB(topic, 0));
		} catch (Exception e) {
			return -1; /* not there yet */
		}
	}

	/** A broker that does not share queues: each member gets all of them, to be popped or pulled. */
	private static void assignedAll(World w) throws Exception {
		String b = BrokerCases.address(w, "broker-b"), popped = popTopic(w, b, "pop-all", 2);
		String pulled = BrokerCases.topic(w, "pull-all", 2, "broker-b");
		World.Inbox inbox = new World.Inbox();
		List<DefaultMQPushConsumer> members = new ArrayList<>();

		try {
			for (String topic : List.of(popped, pulled)) {
				for (int i = 0; i < 2; i++) {
					DefaultMQPushConsumer c = PopCases.member(w, topic.equals(popped) ? "pop-all" : "pull-all",
							topic + "-" + i, topic, "*");

					c.registerMessageListener(PopCases.takes(inbox));
					c.start();
					members.add(c);
				}
			}
			for (DefaultMQPushConsumer c : members) {
				World.await("all queues", () -> {
					World.rebalance(c);
					return shares(c, popped, pulled).size() == 2;
				});
				w.outcome(shares(c, popped, pulled).toString());
			}
			for (int i = 0; i < 10; i++)
				w.sent(w.producer.send(World.message(popped, "A", "m" + i), BrokerCases.onB(popped, i % 2)));
			World.await("ten messages", () -> inbox.distinct() == 10);
			World.await("no lag", () -> w.lag("pop-all") == 0);
			w.outcome("popped " + inbox.size());
		} finally {
			members.forEach(DefaultMQPushConsumer::shutdown);
		}
	}

	private static TreeSet<String> shares(DefaultMQPushConsumer c, String popped, String pulled) {
		TreeSet<String> all = new TreeSet<>();
		var rebalance = c.getDefaultMQPushConsumerImpl().getRebalanceImpl();

		rebalance.getPopProcessQueueTable().keySet().stream().filter(q -> q.getTopic().equals(popped))
				.forEach(q -> all.add("pops " + q.getQueueId()));
		rebalance.getProcessQueueTable().keySet().stream().filter(q -> q.getTopic().equals(pulled))
				.forEach(q -> all.add("pulls " + q.getQueueId()));
		return all;
	}

	/** Who acknowledges nothing gets nothing further: more than the limit is given out, never much more. */
	private static void inFlight(World w) throws Exception {
		String b = BrokerCases.address(w, "broker-b"), group = "pop-in-flight", topic = BrokerCases.topic(w, group, 1, "broker-b");
		Object[] two = {"queueId", 0, "maxMsgNums", 2};

		for (int i = 0; i < 10; i++)
			w.sent(w.producer.send(World.message(topic, "A", "m" + i), BrokerCases.onB(topic, 0)));
		w.settle();
		RemotingCommand first = PopCases.popAt(w, b, topic, group, two);

		w.outcome("first " + count(first));
		w.outcome("at the limit " + count(PopCases.popSomeAt(w, b, topic, group, two)));
		w.outcome("beyond " + count(PopCases.popAt(w, b, topic, group, two)));
		w.outcome("another group " + count(PopCases.popAt(w, b, topic, "pop-in-flight-2", two)));
		for (MessageExt m : PopCases.messages(first))
			w.outcome("ack " + PopCases.plain(PopCases.askAt(w, b, 200051, null, "consumerGroup", w.name(group), "topic", topic,
					"queueId", 0, "offset", m.getQueueOffset(), "extraInfo",
					PopCases.handleOf(w, first, 0, m).replace("broker-a", "broker-b"))));
		w.outcome("acknowledged " + count(PopCases.popSomeAt(w, b, topic, group, two)));
		w.outcome("beyond again " + count(PopCases.popAt(w, b, topic, group, two)));

		/* Not acknowledged: it comes again, and is not in flight from its queue any more. */
		RemotingCommand four = PopCases.popAt(w, b, topic, "pop-in-flight-3", "queueId", 0, "maxMsgNums", 4, "invisibleTime", 3_000);

		w.outcome("third group " + count(four));
		w.outcome("beyond " + count(PopCases.popAt(w, b, topic, "pop-in-flight-3", two)));
		World.await("their return", () -> end(w, "%RETRY%" + w.name("pop-in-flight-3") + "+" + topic) == 4);
		List<String> texts = new ArrayList<>();

		World.await("the rest", () -> {
			RemotingCommand more = PopCases.popAt(w, b, topic, "pop-in-flight-3", "queueId", 0);

			PopCases.messages(more).forEach(m -> texts.add(World.text(m) + " times " + m.getReconsumeTimes()));
			return texts.size() == 10;
		});
		Collections.sort(texts);
		w.outcome("at last " + texts);
	}

	private static String count(RemotingCommand answer) {
		Map<String, String> ext = new TreeMap<>(answer.getExtFields());

		return answer.getCode() + " " + Arrays.toString(PopCases.messages(answer).stream().map(World::text).toArray()) + " rest "
				+ ext.get("restNum");
	}
}
