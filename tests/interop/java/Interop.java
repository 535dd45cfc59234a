// SPDX-License-Identifier: Apache-2.0

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Drives an unmodified rocketmq-client through the cases: `java Interop HOST:PORT PREFIX [CASE...]`.
 *
 * Each case prints `case NAME: what came of it`, comparable between servers, and `ok - NAME` or `not ok - NAME: why`. Exit
 * status 1 when a case failed.
 */
public final class Interop {
	interface Case {
		void run(World w) throws Exception;
	}

	/** A case that mostly waits: it starts before the others, runs beside them, and its lines come last. */
	interface Aside extends Case {
	}

	private static final long CASE_DEADLINE_S = 60;
	private static final long ASIDE_DEADLINE_S = 180;

	private static Map<String, Case> cases() {
		Map<String, Case> all = new LinkedHashMap<>();

		SendCases.addTo(all);
		PullCases.addTo(all);
		FilterCases.addTo(all);
		QueryCases.addTo(all);
		RefusalCases.addTo(all);
		PushCases.addTo(all);
		TransactionCases.addTo(all);
		RetryCases.addTo(all);
		DelayCases.addTo(all);
		RequestCases.addTo(all);
		ResetCases.addTo(all);
		return all;
	}

	/** A case that runs, or is to run. */
	private static final class Run {
		private final String name;
		private final World world;
		private final Thread thread;
		private final FutureTask<?> task;
		private final long deadlineS;

		Run(String name, Case c, World world) {
			this.name = name;
			this.world = world;
			task = new FutureTask<>(() -> {
				c.run(world);
				return null;
			});
			thread = new Thread(task, "case " + name);
			thread.setDaemon(true);
			deadlineS = c instanceof Aside ? ASIDE_DEADLINE_S : CASE_DEADLINE_S;
			thread.start();
		}

		/** Waits for its end and prints its lines. */
		boolean passes() throws Exception {
			String why = null;

			try {
				task.get(deadlineS, TimeUnit.SECONDS);
			} catch (TimeoutException e) {
				why = "not done after " + deadlineS + " s";
				for (StackTraceElement f : thread.getStackTrace())
					System.err.println("\tat " + f);
				task.cancel(true);
			} catch (ExecutionException e) {
				why = e.getCause().toString().split("\n")[0];
				e.getCause().printStackTrace();
			}
			System.out.println("case " + name + ": " + (why == null ? world.takeOutcomes() : "failed"));
			System.out.println(why == null ? "ok - " + name : "not ok - " + name + ": " + why);
			return why == null;
		}
	}

	public static void main(String[] args) throws Exception {
		if (args.length < 2) {
			System.err.println("usage: java Interop HOST:PORT PREFIX [CASE...]");
			System.exit(64);
		}
		Map<String, Case> cases = cases();
		boolean allPass = true;

		if (args.length > 2)
			cases.keySet().retainAll(java.util.Set.of(java.util.Arrays.copyOfRange(args, 2, args.length)));

		try (World w = new World(args[0], args[1])) {
			List<Run> asides = new ArrayList<>();

			cases.forEach((name, c) -> {
				if (c instanceof Aside)
					asides.add(new Run(name, c, w.view()));
			});
			for (Map.Entry<String, Case> c : cases.entrySet())
				if (!(c.getValue() instanceof Aside))
					allPass &= new Run(c.getKey(), c.getValue(), w.view()).passes();
			for (Run aside : asides)
				allPass &= aside.passes();
		}
		/* A client that a failed case left running would keep the JVM. */
		System.exit(allPass ? 0 : 1);
	}
}
