#!/bin/sh
# A deployment script: shift some traffic, ask davy, go on or go back.
# Wants: DAVY_URL, DAVY_TOKEN, SERVICE, OLD and NEW (what tells the versions' series apart), SHIFT (a
# command that takes a share of traffic in percent), SUMMARY (a file; optional).
set -u

gate() {
    davy gate --plan "${PLAN:-checkout}" --baseline "$OLD" --canary "$NEW" \
        --service "$SERVICE" --revision "$NEW" --wait "${WAIT:-45m}" \
        ${SUMMARY:+--summary "$SUMMARY"} "$@"
}

end() {
    $SHIFT "$1"
    exit "$2"
}

for weight in 10 50; do
    $SHIFT "$weight"
    gate --gate step --step "$weight"
    case $? in
    0) ;;
    1) end 0 1 ;;
    *) exit 2 ;; # nobody knows: leave it as it is, for a person
    esac
done
$SHIFT 100
gate --step 100
case $? in
0) exit 0 ;;
1) end 0 1 ;;
*) exit 2 ;;
esac
