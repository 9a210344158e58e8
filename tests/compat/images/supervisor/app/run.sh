#!/bin/sh
# Starts everything, waits until each program has said its line, and shows them.
supervisord -c /etc/supervisor/supervisord.conf >/tmp/supervisord.log 2>&1 &
pid=$!
for _ in $(seq 100); do
    [ -s /tmp/heartbeat.log ] && [ -s /tmp/build.log ] && break
    sleep 0.2
done
kill $pid
wait $pid
cat /tmp/heartbeat.log /tmp/build.log
