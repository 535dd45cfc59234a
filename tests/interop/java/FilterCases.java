// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;

import org.apache.rocketmq.client.consumer.DefaultLitePullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPullConsumer;
import org.apache.rocketmq.client.consumer.DefaultMQPushConsumer;
import org.apache.rocketmq.client.consumer.MessageSelector;
import org.apache.rocketmq.client.consumer.PullResult;
import org.apache.rocketmq.client.consumer.listener.ConsumeConcurrentlyStatus;
import org.apache.rocketmq.client.consumer.listener.MessageListenerConcurrently;
import org.apache.rocketmq.client.exception.MQClientException;
import org.apache.rocketmq.common.consumer.ConsumeFromWhere;
import org.apache.rocketmq.common.message.Message;
import org.apache.rocketmq.common.message.MessageExt;
import org.apache.rocketmq.common.message.MessageQueue;

/**
 * SQL92 filters; both servers run with enablePropertyFilter=true. What each expression means is compared more thoroughly in
 * tests/unit/broker/filter_sql.txt; here unchanged clients ask.
 */
final class FilterCases {
	static void addTo(Map<String, Interop.Case> all) {
		all.put("filter-sql-pull", FilterCases::pull);
		all.put("filter-sql-lite", FilterCases::lite);
		all.put("filter-sql-push", FilterCases::push);
		all.put("filter-sql-changed", FilterCases::changed);
		all.put("filter-sql-changed-live", FilterCases::changedLive);
		all.put("filter-sql-refused", FilterCases::refused);
	}

	/** The body names the properties: "a=1 b=x". */
	private static Message message(String topic, String properties) {
		Message m = World.message(topic, properties.contains("tagged") ? "tagged" : null, properties);

		for (String pair : properties.split(" "))
			if (pair.contains("="))
				m.putUserProperty(pair.substring(0, pair.indexOf('=')), pair.substring(pair.indexOf('=') + 1));
		return m;
	}

	private static final String[] MESSAGES = {
		"a=1 b=x", "a=2 b=y c=true", "a=-3 b=X c=false", "a=1.5 d=1.5", "a=zzz b=x", "a=3000000000 d=7", "b=it's", "nothing",
		"tagged a=5", "a=+7 b=äöü",
	};

	private static final String[] EXPRESSIONS = {
		"TRUE", "a = 1", "a > 1", "a > 1.0", "a >= -3 AND a < 3", "a > 2147483648", "a = '1'", "a <> 1", "NOT (a = 1)",
		"a BETWEEN 1 AND 2", "a NOT BETWEEN 1.0 AND 2.0", "b IN ('x', 'y')", "b NOT IN ('x')", "a IS NULL", "a IS NOT NULL AND b IS NULL",
		"c = TRUE", "c = FALSE OR c IS NULL", "c", "NOT c", "b = 'x' OR a > 1", "a > 1 OR b = 'x'", "a = d", "a < d", "b = 'it''s'",
		"b CONTAINS 'ö'", "b STARTSWITH 'it'", "a ENDSWITH '5'", "b NOT CONTAINS 'x'", "TAGS = 'tagged'", "UNIQ_KEY IS NULL",
		"nothing = nothing", "A = 1", "NULL", "a = 1 trailing words",
		/* These do not compile. */
		"a >", "a > 0.0", "a > 'x'", "a = NULL", "a LIKE 'x'",
	};

	private static MessageQueue fill(World w, String topic) throws Exception {
		for (String m : MESSAGES)
			w.send(message(topic, m), 0);
		w.settle();
		return w.queue(topic, 0);
	}

	private static String shown(PullResult r) {
		List<String> texts = new ArrayList<>();

		if (r.getMsgFoundList() != null)
			for (MessageExt m : r.getMsgFoundList())
				texts.add(World.text(m));
		return r.getPullStatus() + " next " + r.getNextBeginOffset() + " " + texts;
	}

	/** A client that has heard nothing of the broker's version yet refuses by itself. */
	private static void awaitVersion(DefaultMQPullConsumer c, MessageQueue q) throws Exception {
		World.await("the broker's version", () -> {
			try {
				c.pull(q, MessageSelector.bySql("TRUE"), 0, 1);
				return true;
			} catch (MQClientException e) {
				return false;
			}
		});
	}

	private static void pull(World w) throws Exception {
		MessageQueue q = fill(w, w.topic("sql-pull", 1));
		DefaultMQPullConsumer c = new DefaultMQPullConsumer(w.name("sql-puller"));

		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("sql-puller");
		c.setHeartbeatBrokerInterval(200);
		c.start();
		try {
			awaitVersion(c, q);
			for (String expression : EXPRESSIONS)
				w.outcomeOf(expression, () -> shown(c.pull(q, MessageSelector.bySql(expression), 0, 32)));
			w.outcomeOf("two from 1", () -> shown(c.pull(q, MessageSelector.bySql("b IS NOT NULL"), 1, 2)));
			w.outcomeOf("at the end", () -> shown(c.pull(q, MessageSelector.bySql("TRUE"), MESSAGES.length, 32)));
			w.outcomeOf("by tag", () -> shown(c.pull(q, MessageSelector.byTag("tagged"), 0, 32)));
		} finally {
			c.shutdown();
		}
	}

	private static void lite(World w) throws Exception {
		String topic = w.topic("sql-lite", 2);
		DefaultLitePullConsumer c = new DefaultLitePullConsumer(w.name("sql-lite"));
		List<String> got = new ArrayList<>();

		for (int i = 0; i < 40; i++)
			w.send(message(topic, "n=" + i), i % 2);
		w.settle();
		c.setNamesrvAddr(w.namesrv);
		c.setInstanceName("sql-lite");
		c.setConsumeFromWhere(ConsumeFromWhere.CONSUME_FROM_FIRST_OFFSET);
		c.setHeartbeatBrokerInterval(1_000);
		c.subscribe(topic, MessageSelector.bySql("n >= 10 AND n < 20 OR n >= 38"));
		c.start();
		try {
			/* The last message of each queue matches, so nothing is left when both have come. */
			World.await("the last ones", () -> {
				c.poll(100).forEach(m -> got.add(World.text(m)));
				return got.contains("n=38") && got.contains("n=39");
			});
			w.outcome(new TreeSet<>(got) + " of " + got.size());
		} finally {
			c.shutdown();
		}
	}

	private static DefaultMQPushConsumer consumer(World w, String topic, String group, String instance, String sql, World.Inbox inbox)
			throws Exception {
		DefaultMQPushConsumer c = w.pushConsumer(group, instance);

		c.subscribe(topic, MessageSelector.bySql(sql));
		c.registerMessageListener((MessageListenerConcurrently) (messages, context) -> {
			messages.forEach(inbox::add);
			return ConsumeConcurrentlyStatus.CONSUME_SUCCESS;
		});
		c.start();
		return c;
	}

	/** One queue: when its last message is there, what matched before is on its way at the most. */
	private static void push(World w) throws Exception {
		String topic = w.topic("sql-push", 1);
		World.Inbox inbox = new World.Inbox();

		fill(w, topic);
		DefaultMQPushConsumer c = consumer(w, topic, "sql-push", "sql-push", "b IN ('x', 'y') OR a = 1.5", inbox);
		try {
			World.await("the backlog", () -> inbox.size() >= 4);
			w.outcome("backlog " + inbox.texts());
			inbox.clear();
			/* The pull is held now, or soon. */
			for (int i = 0; i < 50; i++)
				w.send(message(topic, (i % 5 == 0 ? "b=x" : "b=z") + " i=" + i), 0);
			World.await("ten that match", () -> inbox.size() >= 10);
			w.outcome("then " + inbox.texts() + " of " + inbox.size());
		} finally {
			c.shutdown();
		}
	}

	/** A group that comes back with another expression goes on where it was, by the new one. */
	private static void changed(World w) throws Exception {
		String topic = w.topic("sql-changed", 1);
		World.Inbox inbox = new World.Inbox();
		MessageQueue q = w.queue(topic, 0);

		for (int i = 0; i < 20; i++)
			w.send(message(topic, "n=" + i), 0);
		w.settle();
		DefaultMQPushConsumer first = consumer(w, topic, "sql-changed", "first", "n < 5 OR n = 19", inbox);
		try {
			World.await("six messages", () -> inbox.size() >= 6);
			w.outcome("first " + inbox.size());
			World.await("the commit", () -> {
				first.getDefaultMQPushConsumerImpl().getOffsetStore().persist(q);
				return w.lag("sql-changed") == 0;
			});
		} finally {
			first.shutdown();
		}
		inbox.clear();
		for (int i = 20; i < 40; i++)
			w.send(message(topic, "n=" + i), 0);
		w.settle();
		DefaultMQPushConsumer second = consumer(w, topic, "sql-changed", "second", "n >= 35", inbox);
		try {
			World.await("five messages", () -> inbox.size() >= 5);
			w.outcome("second " + inbox.texts() + " of " + inbox.size());
		} finally {
			second.shutdown();
		}
	}

	/** A consumer that subscribes anew while its pull waits gets what the new expression wants from then on. */
	private static void changedLive(World w) throws Exception {
		String topic = w.topic("sql-live", 1);
		World.Inbox inbox = new World.Inbox();

		DefaultMQPushConsumer c = consumer(w, topic, "sql-live", "sql-live", "n < 10", inbox);
		try {
			w.send(message(topic, "n=1"), 0);
			World.await("the first", () -> inbox.size() == 1);
			for (int i = 1; i < 3; i++) {
				int number = i;

				c.subscribe(topic, MessageSelector.bySql("n = " + 10 * i));
				World.await("the new expression", () -> w.admin.examineConsumerConnectionInfo(w.name("sql-live"))
					.getSubscriptionTable().get(topic).getSubString().equals("n = " + 10 * number));
				w.send(message(topic, "n=1"), 0);
				w.send(message(topic, "n=" + 10 * i), 0);
				World.await("the next", () -> inbox.size() == 1 + number);
			}
			w.outcome(inbox.texts() + " of " + inbox.size());
		} finally {
			c.shutdown();
		}
	}

	/** The parser's sentence is the server's own, the code is not. */
	private static void refused(World w) throws Exception {
		String topic = w.topic("sql-refused", 1);

		for (String sql : new String[] {"a >", "a > 0.0", "a LIKE 'x'", "a BETWEEN 2 AND 1", "a = 'x", "a IN (1)", "5"}) {
			int code;

			try {
				DefaultMQPushConsumer c = consumer(w, topic, "sql-refused", "refused " + sql, sql, new World.Inbox());

				c.shutdown();
				code = 0;
			} catch (MQClientException e) {
				code = e.getResponseCode();
			}
			w.outcome(sql + ": code " + code);
		}
	}
}
