# The suites of `./dev test`, sourced by ./dev. Each suite is a function suite_<name>; it passes if it returns 0.
# Every suite prints its time; the last line counts them.
# shellcheck shell=bash disable=SC2154

quick_suites=(format style shell build_gcc build_clang unit contract fuzz_replay sim e2e)
long_suites=(fuzz_long)
sanitize_suites=(sanitize_build sanitize_unit sanitize_e2e)

suite_format() { format --check; }

suite_style() { python3 tests/lib/style.py; }

suite_shell() { bash -n dev .ci/run tests/lib/*.sh tests/e2e/*.sh; }

suite_build_gcc() { build_release; }

# clang compiles everything cleanly too; its objects are not run.
suite_build_clang() { CC=clang configure build-clang -Dbuildtype=debug && quiet_ninja build-clang; }

meson_suite() {
    local dir=$1 suite=$2
    shift 2
    local log
    log=$(mktemp)
    if ! meson test -C "$dir" --no-rebuild --print-errorlogs --suite "$suite" "$@" >"$log" 2>&1; then
        tail -150 "$log"
        rm -f "$log"
        return 1
    fi
    grep -E '^ *[0-9]+/[0-9]+ ' "$log" || true
    rm -f "$log"
}

suite_unit() { meson_suite build unit; }
suite_contract() { meson_suite build contract; }
suite_fuzz_replay() { meson_suite build fuzz; }
suite_sim() { meson_suite build sim; }

e2e_tests() {
    local status=0 t
    for t in tests/e2e/test_*.py; do
        local start=$SECONDS
        if ! SLUICE_BUILD=$1 /usr/bin/python3 -B -m unittest -q "$t" >"$1/e2e.log" 2>&1; then
            status=1
            tail -80 "$1/e2e.log"
            echo "  FAILED  $t"
        else
            printf '  ok      %-40s %4d s  %s\n' "$t" $((SECONDS - start)) "$(grep -E '^Ran ' "$1/e2e.log")"
        fi
    done
    return $status
}
suite_e2e() { PYTHONPATH=tests/lib e2e_tests build; }

suite_sanitize_build() {
    configure build-san -Db_sanitize=address,undefined -Db_lundef=false
    quiet_ninja build-san
    link_binaries build-san
}
sanitizer_environment() {
    export ASAN_OPTIONS=abort_on_error=1:detect_leaks=1:strict_string_checks=1
    export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
}
suite_sanitize_unit() {
    (
        sanitizer_environment
        export SLUICE_SIM_SEEDS=100
        meson_suite build-san unit -t 5 && meson_suite build-san contract -t 5 && meson_suite build-san fuzz -t 5 &&
            meson_suite build-san sim -t 5
    )
}
suite_sanitize_e2e() {
    (
        sanitizer_environment
        export SLUICE_KILLS=5 SLUICE_TEST_SLOW=5
        PYTHONPATH=tests/lib e2e_tests build-san
    )
}

suite_fuzz_long() { fuzz "" 60; }

run_suites() {
    local names=() passed=0 failed=0 failed_names=() s start begin=$SECONDS
    while [ $# -gt 0 ]; do
        case "$1" in
        --long) names=("${quick_suites[@]}" "${long_suites[@]}") ;;
        --sanitize) names=("${sanitize_suites[@]}") ;;
        --list)
            printf '%s\n' "${quick_suites[@]}" "${sanitize_suites[@]}" "${long_suites[@]}"
            return
            ;;
        *) names+=("$1") ;;
        esac
        shift
    done
    [ ${#names[@]} -gt 0 ] || names=("${quick_suites[@]}")
    for s in "${names[@]}"; do
        declare -F "suite_$s" >/dev/null || die "there is no suite '$s' (./dev test --list)"
        start=$SECONDS
        echo "== $s"
        # A subshell of its own, so that a suite's set -e and exports end with it.
        local status=0
        (
            set +e
            "suite_$s"
        ) || status=$?
        if [ $status = 0 ]; then
            passed=$((passed + 1))
            printf '== %-16s passed in %d s\n' "$s" $((SECONDS - start))
        else
            failed=$((failed + 1))
            failed_names+=("$s")
            printf '== %-16s FAILED after %d s\n' "$s" $((SECONDS - start))
        fi
    done
    [ $failed = 0 ] || echo "failed: ${failed_names[*]}"
    echo "all suites: $((SECONDS - begin)) s"
    echo "$passed passed, $failed failed"
    [ $failed = 0 ]
}
