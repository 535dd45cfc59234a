# SPDX-License-Identifier: Apache-2.0
# Numbers "ok - NAME" and "not ok - NAME" lines, adds the plan; exit status 1 when one failed or none came.
/^ok /     { n++; sub(/^ok/, "ok " n) }
/^not ok / { n++; failed++; sub(/^not ok/, "not ok " n) }
{ print; fflush() }
END {
	print "1.." n
	exit failed || !n
}
