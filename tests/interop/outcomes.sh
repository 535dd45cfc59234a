# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# Sourced by what compares outcomes, lines like `case NAME: what came of it`.

# Prints the names of the cases whose outcomes differ between two files, in one line; nothing when none does.
differing() { # differing FILE FILE
	{ diff -N "$1" "$2" || true; } | sed -nE 's/^[<>] (case|probe) ([^ :]+).*/\2/p' | sort -u | paste -s -d ' '
}

# Prints them with what came of each, as comments.
differences() { # differences LABEL FILE LABEL FILE
	{ diff -N "$2" "$4" || true; } | sed -n "s/^</# $1:/p; s/^>/# $3:/p"
}
