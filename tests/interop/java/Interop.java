// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;

/**
 * Drives an unmodified rocketmq-client through the cases: `java Interop HOST:PORT PREFIX [CASE...]`.
 *
 * Each case prints `case NAME: what came of it`, comparable between servers, and `ok - NAME` or `not ok - NAME: why`. Exit
 * status 1 when a case failed.
 *
 * Cases mostly wait, so the classes of cases run side by side; those of one class run one after another. What a broker has only one of
 * (a system topic whose messages are counted, say) belongs to one class.
 */
public final class Interop {
	interface Case {
		void run(World w) throws Exception;
	}

	/** A case that waits long for something: it runs beside those of its class, too, and its lines come last. */
	interface Aside extends Case {
	}

	private static final long CASE_DEADLINE_S = 180;
	private static final int AT_A_TIME = 5; /* classes; more, and on two cores answers come later than clients wait for them */

	private static final List<Consumer<Map<String, Case>>> CLASSES = List.of(
			SendCases::addTo,
			MessageCases::addTo,
			PullCases::addTo,
			FilterCases::addTo,
			QueryCases::addTo,
			RefusalCases::addTo,
			PushCases::addTo,
			TransactionCases::addTo,
			RetryCases::addTo,
			DelayCases::addTo,
			RequestCases::addTo,
			ResetCases::addTo,
			MemberCases::addTo,
			OrderCases::addTo,
			QueueCases::addTo,
			all -> addNewer("PopCases", all));

	/** Cases of v5/, which are compiled for clients that have what they are about. */
	static void addNewer(String cases, Map<String, Case> all) {
		try {
			Class.forName(cases).getDeclaredMethod("addTo", Map.class).invoke(null, all);
		} catch (ClassNotFoundException e) {
			/* an older client */
		} catch (ReflectiveOperationException e) {
			throw new AssertionError(e);
		}
	}

	/** What a case printed, and whether it passed. */
	private static final class Result {
		final String lines;
		final boolean passed;

		Result(String name, String outcomes, String why) {
			passed = why == null;
			lines = "case " + name + ": " + (passed ? outcomes : "failed") + "\n"
					+ (passed ? "ok - " + name : "not ok - " + name + ": " + why);
		}
	}

	private static Result result(String name, Case c, World w) throws Exception {
		FutureTask<?> task = new FutureTask<>(() -> {
			c.run(w);
			return null;
		});
		Thread thread = new Thread(task, "case " + name);
		long start = System.nanoTime();
		String why = null;

		thread.setDaemon(true);
		thread.start();
		try {
			task.get(CASE_DEADLINE_S, TimeUnit.SECONDS);
		} catch (TimeoutException e) {
			why = "not done after " + CASE_DEADLINE_S + " s";
			for (StackTraceElement f : thread.getStackTrace())
				System.err.println("\tat " + f);
			task.cancel(true);
		} catch (ExecutionException e) {
			why = e.getCause().toString().split("\n")[0];
			e.getCause().printStackTrace();
		}
		System.err.printf("%s took %.1f s%n", name, (System.nanoTime() - start) / 1e9);
		if (why != null)
			System.err.println("so far: " + w.outcomesSoFar());
		return new Result(name, w.takeOutcomes(), why);
	}

	/** The cases of one class follow one another; beside them runs each that waits long. */
	private static void start(Map<String, Case> cases, World w, ExecutorService classes, List<Future<Result>> results,
			List<Future<Result>> asides) {
		List<FutureTask<Result>> inTurn = new ArrayList<>();

		cases.forEach((name, c) -> {
			FutureTask<Result> run = new FutureTask<>(() -> result(name, c, w.view()));

			if (c instanceof Aside) {
				new Thread(run).start();
				asides.add(run);
			} else {
				inTurn.add(run);
			}
		});
		classes.execute(() -> inTurn.forEach(FutureTask::run));
		results.addAll(inTurn);
	}

	private static boolean passes(List<Consumer<Map<String, Case>>> all, String namesrv, String prefix, Set<String> wanted) throws Exception {
		List<Future<Result>> results = new ArrayList<>();
		List<Future<Result>> asides = new ArrayList<>();
		ExecutorService classes = Executors.newFixedThreadPool(AT_A_TIME);
		boolean allPass = true;

		try (World w = new World(namesrv, prefix)) {
			for (Consumer<Map<String, Case>> addTo : all) {
				Map<String, Case> cases = new LinkedHashMap<>();

				addTo.accept(cases);
				if (!wanted.isEmpty())
					cases.keySet().retainAll(wanted);
				start(cases, w, classes, results, asides);
			}
			results.addAll(asides);
			for (Future<Result> r : results) {
				System.out.println(r.get().lines);
				allPass &= r.get().passed;
			}
		}
		return allPass;
	}

	public static void main(String[] args) {
		run(CLASSES, args);
	}

	/** Runs these classes of cases, and ends the JVM. */
	static void run(List<Consumer<Map<String, Case>>> classes, String[] args) {
		if (args.length < 2) {
			System.err.println("usage: java CLASS HOST:PORT PREFIX [CASE...]");
			System.exit(64);
		}
		/* A client that a failed case, or a failed start, left running would keep the JVM. */
		try {
			System.exit(passes(classes, args[0], args[1], Set.of(Arrays.copyOfRange(args, 2, args.length))) ? 0 : 1);
		} catch (Throwable e) {
			e.printStackTrace();
			System.exit(1);
		}
	}
}
