// SPDX-License-Identifier: Apache-2.0

import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

import io.netty.channel.ChannelHandlerContext;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.remoting.netty.NettyRequestProcessor;
import org.apache.rocketmq.remoting.protocol.RemotingCommand;

/** Members of a group: heartbeats of both versions, who leaves, and members that subscribe to different things. */
final class MemberCases {
	private static final int QUEUES = 4;
	private static final int NOTIFY_CONSUMER_IDS_CHANGED = 40;

	static void addTo(Map<String, Interop.Case> all) {
		all.put("member-heartbeat-v2", MemberCases::heartbeatV2);
		all.put("member-leaves", MemberCases::leaves);
		all.put("member-differs", MemberCases::differs);
	}

	/** These cases run beside others, and consumers with the same instance name would share one client. */
	private static DefaultMQPushConsumer member(World w, String group, String instance, World.Inbox inbox) {
		DefaultMQPushConsumer c = w.pushConsumer(group, group + "-" + instance);

		c.setPollNameServerInterval(1_000);
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		return c;
	}

	/** Clients before 5.1.3 know the first version only. */
	private static boolean useHeartbeatV2(DefaultMQPushConsumer c) throws Exception {
		try {
			c.getClass().getMethod("setUseHeartbeatV2", boolean.class).invoke(c, true);
			return true;
		} catch (NoSuchMethodException e) {
			return false;
		}
	}

	/** Does the client send heartbeats without subscriptions now, since the broker knows them? */
	private static boolean isBrief(World w, DefaultMQPushConsumer c) throws Exception {
		Object client = c.getDefaultMQPushConsumerImpl().getmQClientFactory();
		var field = client.getClass().getDeclaredField("brokerAddrHeartbeatFingerprintTable");

		field.setAccessible(true);
		return ((Map<?, ?>) field.get(client)).containsKey(w.broker);
	}

	/**
	 * A rebalance raises the subscription's version and sends a heartbeat, which gets lost when another is under way. The next ones are
	 * brief and do not make up for it, so that every pull would be refused as older (code 25).
	 */
	private static void sayAgain(DefaultMQPushConsumer... members) throws Exception {
		for (DefaultMQPushConsumer c : members) {
			var client = c.getDefaultMQPushConsumerImpl().getmQClientFactory();

			try {
				var method = client.getClass().getMethod("sendHeartbeatToAllBrokerWithLockV2", boolean.class);

				World.await("a full heartbeat", () -> (boolean) method.invoke(client, true));
			} catch (NoSuchMethodException e) {
				client.sendHeartbeatToAllBrokerWithLock();
			}
		}
	}

	/** As most heartbeats of the second version are: they change nothing. The broker has them when this returns. */
	private static void sayBriefly(DefaultMQPushConsumer... members) throws Exception {
		for (DefaultMQPushConsumer c : members) {
			var client = c.getDefaultMQPushConsumerImpl().getmQClientFactory();

			try {
				var method = client.getClass().getMethod("sendHeartbeatToAllBrokerWithLockV2", boolean.class);

				World.await("a brief heartbeat", () -> (boolean) method.invoke(client, false));
			} catch (NoSuchMethodException e) {
				/* 4.9 has none. */
			}
		}
	}

	/** The groups whose members the broker said have changed. The client rebalances then, as it would without us. */
	private static Map<String, Integer> notices(DefaultMQPushConsumer c) {
		Map<String, Integer> told = new ConcurrentHashMap<>();
		var client = c.getDefaultMQPushConsumerImpl().getmQClientFactory();

		client.getMQClientAPIImpl().getRemotingClient().registerProcessor(NOTIFY_CONSUMER_IDS_CHANGED, new NettyRequestProcessor() {
			@Override
			public RemotingCommand processRequest(ChannelHandlerContext context, RemotingCommand request) {
				told.merge(request.getExtFields().get("consumerGroup"), 1, Integer::sum);
				client.rebalanceImmediately();
				return null;
			}

			@Override
			public boolean rejectRequest() {
				return false;
			}
		}, null);
		return told;
	}

	private static int queuesOf(DefaultMQPushConsumer c, String topic) {
		return (int) c.getDefaultMQPushConsumerImpl().getRebalanceImpl().getProcessQueueTable().keySet().stream()
			.filter(q -> q.getTopic().equals(topic)).count();
	}

	private static void awaitShares(String topic, int share, DefaultMQPushConsumer... members) throws Exception {
		World.await("shares of " + topic, () -> {
			boolean holds = true;

			for (DefaultMQPushConsumer c : members) {
				World.rebalance(c);
				holds &= queuesOf(c, topic) == share;
			}
			return holds;
		});
	}

	/** "2 members: T=*": who is connected and what the group subscribes to, as tools show it. */
	private static String shown(World w, String group) throws Exception {
		var connection = w.admin.examineConsumerConnectionInfo(w.name(group));
		Map<String, String> subscriptions = new TreeMap<>();

		connection.getSubscriptionTable().forEach((topic, s) -> subscriptions.put(topic.replace(w.name(""), ""), s.getSubString()));
		return connection.getConnectionSet().size() + " members of " + connection.getConsumeType() + " " +
			connection.getMessageModel() + ": " + subscriptions;
	}

	private static void send(World w, String topic, String tag, int perQueue) throws Exception {
		for (int i = 0; i < perQueue * QUEUES; i++)
			w.send(World.message(topic, tag, tag + i + " of " + topic), i % QUEUES);
		w.settle();
	}

	/** Apache's broker says nothing of a topic's queues before the first commit of one. */
	private static void awaitNoLag(World w, String group, String topic, DefaultMQPushConsumer... members) throws Exception {
		World.await("no lag of " + group, () -> {
			for (DefaultMQPushConsumer c : members)
				c.getDefaultMQPushConsumerImpl().persistConsumerOffset();
			if (w.lag(group) != 0)
				return false;
			return w.admin.examineConsumeStats(w.name(group)).getOffsetTable().entrySet().stream()
				.filter(e -> e.getKey().getTopic().equals(topic) && e.getValue().getConsumerOffset() == e.getValue().getBrokerOffset())
				.count() == QUEUES;
		});
	}

	private static void heartbeatV2(World w) throws Exception {
		String topic = w.topic("member-v2", QUEUES), other = w.topic("member-v2-other", QUEUES);
		World.Inbox[] inboxes = { new World.Inbox(), new World.Inbox() };
		DefaultMQPushConsumer[] members = { member(w, "member-v2", "first", inboxes[0]), member(w, "member-v2", "second", inboxes[1]) };

		try {
			/* While one is alone: two may write the same subscriptions in different orders, and so have different fingerprints. */
			for (DefaultMQPushConsumer c : members) {
				boolean isV2 = useHeartbeatV2(c);

				c.subscribe(topic, "*");
				c.start();
				if (c == members[0])
					awaitShares(topic, QUEUES, c); /* on its way there it would pass through half of them, too */
				if (isV2 && c == members[0])
					World.await("heartbeats without subscriptions", () -> isBrief(w, c));
			}
			awaitShares(topic, QUEUES / 2, members);
			sayAgain(members);
			sayBriefly(members);
			w.outcome(shown(w, "member-v2"));
			send(w, topic, "a", 2);
			World.await("8 messages", () -> inboxes[0].distinct() + inboxes[1].distinct() == 8);
			w.outcome("got " + inboxes[0].distinct() + " and " + inboxes[1].distinct());

			/* Each member's changed subscription reaches the broker, though it kept silent about the old one. */
			for (DefaultMQPushConsumer c : members)
				c.subscribe(other, "*");
			awaitShares(other, QUEUES / 2, members);
			sayAgain(members);
			World.await("the second topic", () -> shown(w, "member-v2").contains("other"));
			sayBriefly(members);
			send(w, other, "a", 2);
			World.await("8 more", () -> inboxes[0].distinct() + inboxes[1].distinct() == 16);
			w.outcome(shown(w, "member-v2") + "; got " + inboxes[0].distinct() + " and " + inboxes[1].distinct());
			for (DefaultMQPushConsumer c : members)
				c.unsubscribe(other);
			World.await("the first topic alone", () -> !shown(w, "member-v2").contains("other"));
			w.outcome("then " + shown(w, "member-v2"));
		} finally {
			for (DefaultMQPushConsumer c : members)
				c.shutdown();
		}
		w.outcomeOf("all gone", () -> shown(w, "member-v2"));
	}

	private static void leaves(World w) throws Exception {
		String topic = w.topic("member-leaves", QUEUES);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer first = member(w, "member-leaves", "first", inbox), second = member(w, "member-leaves", "second", inbox);
		/* Of another group: it keeps the connection of the one that leaves. */
		DefaultMQPushConsumer stays = member(w, "member-stays", "stays", new World.Inbox());

		stays.setInstanceName(second.getInstanceName());
		stays.subscribe(topic, "*");
		stays.start();
		try {
			first.subscribe(topic, "*");
			first.start();
			awaitShares(topic, QUEUES, first);
			second.subscribe(topic, "*");
			second.start();
			awaitShares(topic, QUEUES / 2, first, second);
			w.outcome(shown(w, "member-leaves"));
			/* It says goodbye before shutdown() returns; the other is told, and takes over without being asked to here. */
			Map<String, Integer> told = notices(first);
			second.shutdown();
			w.outcome("one left: " + shown(w, "member-leaves"));
			World.await("a notice", () -> told.containsKey(w.name("member-leaves")));
			World.await("all queues", () -> queuesOf(first, topic) == QUEUES);
			send(w, topic, "a", 2);
			World.await("8 messages", () -> inbox.distinct() == 8);
			w.outcome("the other got " + inbox.distinct());
		} finally {
			first.shutdown();
			second.shutdown();
			stays.shutdown();
		}
	}

	/** The newest subscription counts for the whole group: what the others asked for is passed over, silently. */
	private static void differs(World w) throws Exception {
		String topic = w.topic("member-differs", QUEUES);
		World.Inbox[] inboxes = { new World.Inbox(), new World.Inbox() };
		DefaultMQPushConsumer first = member(w, "member-differs", "first", inboxes[0]);
		DefaultMQPushConsumer second = member(w, "member-differs", "second", inboxes[1]);

		try {
			first.subscribe(topic, "a");
			first.start();
			awaitShares(topic, QUEUES, first);
			second.subscribe(topic, "b");
			second.start();
			awaitShares(topic, QUEUES / 2, first, second);
			/* Newer than what either says while queues move: their threads may be about to say more. */
			long newest = System.currentTimeMillis() + 3_600_000;
			World.await("the newest subscription", () -> {
				second.getDefaultMQPushConsumerImpl().getSubscriptionInner().get(topic).setSubVersion(newest);
				sayAgain(second);
				return w.admin.examineConsumerConnectionInfo(w.name("member-differs")).getSubscriptionTable().get(topic).getSubVersion()
						== newest;
			});
			/* The other one's next heartbeat says its older one again. */
			sayAgain(first);
			w.outcome(shown(w, "member-differs"));
			/* Pulls that wait go by what counted when they came: these end them. */
			send(w, topic, "a", 2);
			send(w, topic, "b", 2);
			awaitNoLag(w, "member-differs", topic, first, second);
			for (World.Inbox inbox : inboxes)
				inbox.clear();
			send(w, topic, "a", 2);
			send(w, topic, "b", 2);
			awaitNoLag(w, "member-differs", topic, first, second);
			w.outcome("of 8 and 8, the first got " + inboxes[0].texts() + ", the second only its own " +
				inboxes[1].texts().stream().allMatch(text -> text.startsWith("b")) + " " + inboxes[1].distinct());
		} finally {
			first.shutdown();
			second.shutdown();
		}
	}
}
