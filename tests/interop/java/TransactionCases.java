// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;

import org.apache.rocketmq.client.producer.LocalTransactionState;
import org.apache.rocketmq.client.producer.TransactionListener;
import org.apache.rocketmq.client.producer.TransactionMQProducer;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;

/** Transactions that their producer leaves open: the broker asks for the end. */
final class TransactionCases {
	private static final String GIVEN_UP = "TRANS_CHECK_MAX_TIME_TOPIC";

	static void addTo(Map<String, Interop.Case> all) {
		all.put("transaction-check", TransactionCases::check);
		all.put("transaction-heir", TransactionCases::heir);
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

	private static TransactionMQProducer producer(World w, String instance, TransactionListener listener) throws Exception {
		TransactionMQProducer p = w.set(new TransactionMQProducer(w.name("undecided")), instance);

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
		TransactionMQProducer p = producer(w, "undecided", listener);
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
		TransactionMQProducer first = producer(w, "first", new Undecided());
		TransactionMQProducer second;

		first.sendMessageInTransaction(World.message(topic, "A", "commit at 1"), null);
		first.shutdown();
		second = producer(w, "second", new Undecided());
		try {
			World.await("the commit of the second", () -> w.producer.maxOffset(w.queue(topic, 0)) >= 1);
			w.outcome("committed " + World.text(w.stored(topic, 1).get(0).get(0)));
		} finally {
			second.shutdown();
		}
	}
}
