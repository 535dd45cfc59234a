// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageAccessor;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactions that their producer leaves open: the broker asks for the end. */
final class TransactionCases {
	private static final String GIVEN_UP = "TRANS_CHECK_MAX_TIME_TOPIC";

	static void addTo(Map<String, Interop.Case> all) {
		all.put("transaction-check", TransactionCases::check);
		all.put("transaction-heir", TransactionCases::heir);
		all.put("transaction-unseen", TransactionCases::unseen);
		all.put("transaction-immune", (Interop.Aside) TransactionCases::immune);
	}

	/** Leaves all open; when asked, does what the body says: "commit at 2" at the second check. */
	private static final class Undecided implements TransactionListener {
		final Map<String, Integer> checks = new ConcurrentHashMap<>();

		@Override
		public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
			return LocalTransactionState.UNKNOW;
		}

		@Override
		public LocalTransactionState checkLocalTransaction(MessageExt m) {
			String[] words = World.text(m).split(" ");
			int n = checks.merge(World.text(m), 1, Integer::sum);

			if (words[0].equals("never") || n < Integer.parseInt(words[2]))
				return LocalTransactionState.UNKNOW;
			return words[0].equals("commit") ? LocalTransactionState.COMMIT_MESSAGE : LocalTransactionState.ROLLBACK_MESSAGE;
		}
	}

	private static TransactionMQProducer producer(World w, String group, String instance, TransactionListener listener) throws Exception {
		TransactionMQProducer p = w.set(new TransactionMQProducer(w.name(group)), instance);

		p.setTransactionListener(listener);
		p.start();
		/* Only who has sent a heartbeat is asked, and it goes to brokers that the client has sent to. */
		w.sent(p.send(World.message(w.topic("of-" + instance, 1), "A", "x")));
		p.getDefaultMQProducerImpl().getmQClientFactory().sendHeartbeatToAllBrokerWithLock();
		return p;
	}

	/** Text and number of checks of every message. */
	private static String shown(List<MessageExt> messages) {
		Map<String, String> found = new TreeMap<>();

		for (MessageExt m : messages)
			found.merge(World.text(m), m.getProperty("TRANSACTION_CHECK_TIMES"), (a, b) -> a + " and again " + b);
		return found.toString();
	}

	private static List<MessageExt> given(World w, String key) throws Exception {
		List<MessageExt> mine = new ArrayList<>();

		try {
			for (MessageExt m : w.stored(GIVEN_UP, 1).get(0))
				if (key.equals(m.getKeys()))
					mine.add(m);
		} catch (org.apache.rocketmq.client.exception.MQClientException e) {
			/* The topic comes with its first message. */
		}
		return mine;
	}

	private static void check(World w) throws Exception {
		String topic = w.topic("transaction-check", 1);
		Undecided listener = new Undecided();
		TransactionMQProducer p = producer(w, "undecided", "undecided", listener);
		String[] plans = {"commit at 1", "rollback at 1", "commit at 2", "rollback at 2", "never"};

		try {
			for (String plan : plans) {
				Message m = World.message(topic, "A", plan);

				m.setKeys(topic);
				p.sendMessageInTransaction(m, null);
			}
			World.await("the messages that are committed", () -> w.producer.maxOffset(w.queue(topic, 0)) >= 2);
			World.await("the message that is given up", () -> !given(w, topic).isEmpty());
		} finally {
			p.shutdown();
		}
		w.outcome("committed " + shown(w.stored(topic, 1).get(0)));
		w.outcome("given up " + shown(given(w, topic)));
		w.outcome("asked " + new TreeMap<>(listener.checks));
	}

	/** Who sent it is gone: another producer of the group is asked. */
	private static void heir(World w) throws Exception {
		String topic = w.topic("transaction-heir", 1);
		TransactionMQProducer first = producer(w, "undecided", "first", new Undecided());
		TransactionMQProducer second;

		first.sendMessageInTransaction(World.message(topic, "A", "commit at 1"), null);
		first.shutdown();
		second = producer(w, "undecided", "second", new Undecided());
		try {
			World.await("the commit of the second", () -> w.producer.maxOffset(w.queue(topic, 0)) >= 1);
			w.outcome("committed " + World.text(w.stored(topic, 1).get(0).get(0)));
		} finally {
			second.shutdown();
		}
	}

	/** Until it is committed nobody sees it, however long that takes; what is rolled back nobody ever sees. */
	private static void unseen(World w) throws Exception {
		String topic = w.topic("transaction-unseen", 1);
		World.Inbox inbox = new World.Inbox();
		DefaultMQPushConsumer c = w.pushConsumer("transaction-unseen", "unseen");
		TransactionMQProducer p = w.set(new TransactionMQProducer(w.name("unseen")), "unseen");

		c.subscribe(topic, "*");
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		p.setTransactionListener(new TransactionListener() {
			/* An ordinary message overtakes the half one, and is consumed before its fate is decided. */
			@Override
			public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
				try {
					String behind = "sent after " + World.text(m);

					w.send(World.message(topic, "A", behind), 0);
					World.await(behind, () -> inbox.texts().contains(behind));
				} catch (Exception e) {
					e.printStackTrace();
					return LocalTransactionState.UNKNOW;
				}
				return (LocalTransactionState) arg;
			}

			@Override
			public LocalTransactionState checkLocalTransaction(MessageExt m) {
				return LocalTransactionState.UNKNOW; /* it is still at it */
			}
		});
		c.start();
		p.start();
		try {
			p.sendMessageInTransaction(World.message(topic, "A", "committed"), LocalTransactionState.COMMIT_MESSAGE);
			World.await("the committed one", () -> inbox.texts().contains("committed"));
			p.sendMessageInTransaction(World.message(topic, "A", "rolled back"), LocalTransactionState.ROLLBACK_MESSAGE);
			p.sendMessageInTransaction(World.message(topic, "A", "committed too"), LocalTransactionState.COMMIT_MESSAGE);
			World.await("the last one", () -> inbox.texts().contains("committed too"));
		} finally {
			p.shutdown();
			c.shutdown();
		}
		w.outcome(String.join(", ", inbox.order()));
		for (MessageExt m : w.stored(topic, 1).get(0))
			if (World.text(m).equals("committed"))
				w.outcome("properties " + properties(m) + " sysFlag " + m.getSysFlag() + " id is the unique id: "
						+ m.getTransactionId().equals(m.getMsgId()));
	}

	private static Map<String, String> properties(MessageExt m) {
		Map<String, String> shown = new TreeMap<>(m.getProperties());

		for (String id : new String[] {"UNIQ_KEY", "__transactionId__"})
			shown.computeIfPresent(id, (name, value) -> "ID");
		shown.keySet().removeAll(java.util.Set.of("MIN_OFFSET", "MAX_OFFSET"));
		return shown;
	}

	/** A message may ask for time of its own before its producer is asked. */
	private static void immune(World w) throws Exception {
		String topic = w.topic("transaction-immune", 1);
		List<Long> asked = new CopyOnWriteArrayList<>();
		TransactionMQProducer p = producer(w, "immune", "immune", new TransactionListener() {
			@Override
			public LocalTransactionState executeLocalTransaction(Message m, Object arg) {
				return LocalTransactionState.UNKNOW;
			}

			@Override
			public LocalTransactionState checkLocalTransaction(MessageExt m) {
				asked.add(System.currentTimeMillis() - m.getBornTimestamp());
				return LocalTransactionState.COMMIT_MESSAGE;
			}
		});

		try {
			Message m = World.message(topic, "A", "immune");

			MessageAccessor.putProperty(m, "CHECK_IMMUNITY_TIME_IN_SECONDS", "6");
			p.sendMessageInTransaction(m, null);
			World.await("the commit", () -> w.producer.maxOffset(w.queue(topic, 0)) >= 1);
		} finally {
			p.shutdown();
		}
		World.check(asked.get(0) >= 6_000, "asked after " + asked.get(0) + " ms");
		w.outcome("asked " + asked.size() + ", committed " + w.stored(topic, 1).get(0).size());
	}
}
