"""count-meson.py TESTLOG.json FAILED.txt: prints "PASSED FAILED SKIPPED" of a meson run and writes what failed.

A cmocka program counts as many tests as it says it ran, any other program as one. A program that did not end well
counts at least one failure, whatever it printed before."""
import json
import re
import sys

passed = failed = skipped = 0
broken = []
with open(sys.argv[1], encoding="utf-8") as log:
    for line in log:
        test = json.loads(line)
        text = test.get("stdout", "") + test.get("stderr", "")
        ok = sum(int(n) for n in re.findall(r"^\[  PASSED  \] (\d+) test", text, re.M))
        bad = len(set(re.findall(r"^\[  FAILED  \] (?:\S+: )?([A-Za-z_]\w*)$", text, re.M)))
        skip = len(re.findall(r"^\[  SKIPPED \] (?:\S+: )?[A-Za-z_]\w*$", text, re.M))
        if test["result"] == "SKIP":
            skipped += 1
            continue
        if test["result"] in ("OK", "EXPECTEDFAIL"):
            passed += ok or 1
            failed += bad
        else:
            passed += ok
            failed += bad or 1
            broken.append(f"not ok - {test['name']}: {test['result']}\n{text[-6000:]}")
        skipped += skip
with open(sys.argv[2], "w", encoding="utf-8") as out:
    out.write("\n".join(broken))
print(passed, failed, skipped)
