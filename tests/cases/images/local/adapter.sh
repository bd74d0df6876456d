grep -q "^CapEff:.*0000$" /proc/self/status && test "$(ls /sys/class/net)" = lo && echo hello
