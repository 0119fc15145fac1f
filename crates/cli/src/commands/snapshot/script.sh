#!/bin/sh
# Records this host for natpath(1): rules, addresses, routes, sockets, of the host and of every container and
# network namespace in it. Written by `natpath snapshot --script`; `natpath snapshot --out DIR` does the same.
#
#   sh natpath-snapshot.sh DIR
#
# DIR must be empty or missing. It gets a directory for the host and one for each namespace:
#
#   DIR/HOST/iptables-save, DIR/HOST/addr.json ...
#   DIR/HOST/ns/NAME/iptables-save ...
#   DIR/topology.json        which ends of veth pairs belong together
#
# Each file is the untouched output of one command, but for WireGuard's secret keys, which are hidden. Nothing
# is sent and nothing is changed. It needs a POSIX shell and the tools it runs; those that are not installed
# are named and left out. Run it as root: others see little.

set -u
# Rules and connections are nobody else's affair.
umask 077
export LC_ALL=C
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin

say() {
    printf 'natpath: %s\n' "$*" >&2
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Prints the first of these tools that is installed, else the first.
first() {
    default=$1
    for tool; do
        if has "$tool"; then
            printf '%s\n' "$tool"
            return
        fi
    done
    printf '%s\n' "$default"
}

# Runs a command in the namespace of the host that is being recorded.
enter() {
    if [ -n "$namespace" ]; then
        nsenter --net="$namespace" "$@" </dev/null
    else
        "$@" </dev/null
    fi
}

# record FILE COMMAND...: adds what the command prints to a file of the host. Fails if that is nothing at all.
record() {
    file=$1
    shift
    if ! has "$1"; then
        case " $missing " in
        *" $1 "*) ;;
        *) missing="$missing $1" ;;
        esac
        return 0
    fi
    if enter "$@" >>"$dir/$file" 2>"$scratch/errors"; then
        case $file in
        *tables*-save)
            # The legacy tools print nothing for others than root, and call it success.
            if [ -z "$root" ] && [ ! -s "$dir/$file" ]; then
                rm -f "$dir/$file"
                say "$host: $file is not recorded: $*: only root may read rules"
            fi
            ;;
        esac
        return 0
    fi
    if [ -s "$dir/$file" ]; then
        say "$host: $file may lack something: $*: $(reason)"
        return 0
    fi
    rm -f "$dir/$file"
    say "$host: $file is not recorded: $*: $(reason)"
    return 1
}

# The first line of what a tool complained of.
reason() {
    line=$(sed -n '/[^[:space:]]/{p;q;}' "$scratch/errors")
    printf '%s\n' "${line:-it failed}"
}

# WireGuard's peers; private and preshared keys are hidden as `wg show` hides them.
hide_keys() {
    awk -F '\t' -v OFS='\t' '
        NF == 5 && $2 != "(none)" { $2 = "(hidden)" }
        NF == 9 && $3 != "(none)" { $3 = "(hidden)" }
        { print }'
}

# The filters of every device whose queueing may have some.
filters() {
    enter tc qdisc show 2>/dev/null | while read -r _ kind _ _ device _; do
        case $kind in
        @PLAIN_QUEUES@) ;;
        *) printf '%s\n' "$device" ;;
        esac
    done | sort -u | while read -r device; do
        for place in @FILTER_PLACES@; do
            shown=$(enter tc filter show dev "$device" "$place" 2>/dev/null)
            [ -z "$shown" ] || printf '# dev %s %s\n%s\n' "$device" "$place" "$shown"
        done
    done
}

# Records the namespace $namespace, '' being this one, as $host in $dir.
record_host() {
    mkdir -p "$dir" || exit 2
@RECORDS@
    if has tc; then
        filters >"$dir/tc"
    else
        record tc tc
    fi
    if has wg; then
        enter wg show all dump 2>"$scratch/errors" | hide_keys >"$dir/wg"
        if [ ! -s "$dir/wg" ] && [ -s "$scratch/errors" ]; then
            rm -f "$dir/wg"
            say "$host: wg is not recorded: wg show all dump: $(reason)"
        fi
    else
        record wg wg
    fi
    record date date +%s
    note_veths
}

# The number by which the kernel knows a namespace.
inode() {
    stat -L -c %i "$1" 2>/dev/null
}

# Notes the host's ends of veth pairs, and what the host calls the other namespaces:
#   hosts  INODE HOST
#   ends   INODE INDEX PEER_INDEX PEER_NSID HOST:NAME      (`self`: the peer is in the same namespace)
#   nsids  INODE NSID INODE_OF_THE_OTHER
note_veths() {
    own=$(inode "${namespace:-/proc/self/ns/net}")
    printf '%s %s\n' "$own" "$host" >>"$scratch/hosts"
    enter ip -o link show type veth 2>/dev/null >"$scratch/links"
    # 5: veth0@if4: <...> ... link-netnsid 0     7: a@b: <...>     9: veth1@if2: <...> ... link-netns NAME
    awk -v own="$own" -v host="$host" '
        {
            index_ = $1; sub(/:$/, "", index_)
            name = $2; sub(/:$/, "", name)
            if (name !~ /@/ || name ~ /["\\]/) next
            peer = name; sub(/.*@/, "", peer); sub(/@[^@]*$/, "", name)
            where = "self"
            for (i = 3; i < NF; i++) {
                if ($i == "link-netnsid") where = $(i + 1)
                if ($i == "link-netns") where = "name=" $(i + 1)
            }
            if (where != "self") { if (peer !~ /^if[0-9]+$/) next; sub(/^if/, "", peer) }
            indexes[name] = index_
            line[++n] = own " " index_ " "; peers[n] = peer; rest[n] = " " where " " host ":" name
        }
        END {
            for (i = 1; i <= n; i++) {
                if (rest[i] ~ /^ self /) { if (!(peers[i] in indexes)) continue; peers[i] = indexes[peers[i]] }
                print line[i] peers[i] rest[i]
            }
        }' "$scratch/links" >>"$scratch/ends"
    if has lsns; then
        enter lsns -t net -n -r -o NS,NETNSID 2>/dev/null | while read -r other nsid _; do
            case $nsid in
            '' | *[!0-9]*) ;;
            *) printf '%s %s %s\n' "$own" "$nsid" "$other" ;;
            esac
        done >>"$scratch/nsids"
    fi
    for path in /run/netns/*; do
        [ -e "$path" ] && printf '%s name=%s %s\n' "$own" "${path##*/}" "$(inode "$path")"
    done >>"$scratch/nsids"
    # nsid 0 (iproute2 netns name: NAME): lsns does not see namespaces that no process is in.
    enter ip netns list-id 2>/dev/null | sed -n 's/^nsid \([0-9]*\) (iproute2 netns name: \(.*\))$/\1 \2/p' |
        while read -r nsid name_; do
            printf '%s %s %s\n' "$own" "$nsid" "$(inode "/run/netns/$name_")"
        done >>"$scratch/nsids"
}

# Writes the veth pairs whose ends name each other.
topology() {
    awk '
        FILENAME ~ /hosts$/ { known[$1] = 1; next }
        FILENAME ~ /nsids$/ { other[$1, $2] = $3; next }
        {
            n++; own[n] = $1; at[n] = $2; peer[n] = $3; end[n] = $5
            there[n] = $4 == "self" ? $1 : other[$1, $4]
            by[$1, $2] = n
        }
        END {
            for (i = 1; i <= n; i++) {
                if (!(there[i] in known)) continue
                j = by[there[i], peer[i]]
                if (!j || i == j || peer[j] != at[i] || there[j] != own[i]) continue
                a = end[i]; b = end[j]
                if (a < b) print "  [\"" a "\", \"" b "\"]"
            }
        }' "$scratch/hosts" "$scratch/nsids" "$scratch/ends" | sort -u >"$scratch/pairs"
    [ -s "$scratch/pairs" ] || return 0
    {
        echo '{"segments": ['
        sed '$!s/$/,/' "$scratch/pairs"
        echo ']}'
    } >"$out/topology.json"
}

# The namespaces of this host, a line `NAME PATH` each. One that several names lead to is taken by the first.
namespaces() {
    containers docker
    containers podman
    sandboxes
    has ip && ip netns list 2>/dev/null | while read -r name _; do
        printf '%s %s\n' "$name" "/run/netns/$name"
    done
    others
}

containers() {
    has "$1" || return 0
    if ! "$1" ps -q --no-trunc </dev/null >"$scratch/ids" 2>"$scratch/errors"; then
        say "$1 can't be asked for its containers: $(reason)"
        return 0
    fi
    xargs "$1" inspect -f '{{.State.Pid}} {{.Name}}' <"$scratch/ids" 2>/dev/null | while read -r pid name; do
        printf '%s %s\n' "${name#/}" "/proc/$pid/ns/net"
    done
}

sandboxes() {
    has crictl || return 0
    if ! crictl pods -q --state ready </dev/null >"$scratch/ids" 2>"$scratch/errors"; then
        say "crictl can't be asked for its pods: $(reason)"
        return 0
    fi
    template='{{.info.pid}} {{.status.metadata.namespace}}_{{.status.metadata.name}}'
    while read -r id; do
        crictl inspectp -o go-template --template "$template" "$id" </dev/null 2>/dev/null
        echo
    done <"$scratch/ids" | while read -r pid name; do
        [ -z "$name" ] || printf '%s %s\n' "$name" "/proc/$pid/ns/net"
    done
}

# Namespaces that only processes hold, called after the first of them.
others() {
    stat -L -c '%i %n' /proc/[0-9]*/ns/net 2>/dev/null |
        sed 's|^\([0-9]*\) /proc/\([0-9]*\)/.*|\2 \1|' | sort -n | awk '!seen[$2]++ { print $1 }' |
        while read -r pid; do
            { read -r command <"/proc/$pid/comm"; } 2>/dev/null || continue
            printf '%s %s\n' "$(clean "$command-$pid")" "/proc/$pid/ns/net"
        done
}

# A name for a directory.
clean() {
    printf '%s\n' "$1" | sed 's/[^A-Za-z0-9._-]/_/g; s/^\./_/'
}

main() {
    if [ $# != 1 ] || [ -z "$1" ]; then
        say "usage: sh natpath-snapshot.sh DIR"
        exit 2
    fi
    out=$1
    if [ -e "$out" ] && [ -n "$(ls -A "$out" 2>/dev/null || echo file)" ]; then
        say "$out is not an empty directory: give another"
        exit 2
    fi
    mkdir -p "$out" || exit 2
    scratch=$(mktemp -d) || exit 2
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 130' HUP INT TERM
    touch "$scratch/hosts" "$scratch/ends" "$scratch/nsids"
    missing=
    root=yes
    if [ "$(id -u)" != 0 ]; then
        root=
        say "not root: rules, connections and other namespaces can't be read"
    fi

    # 1) The host itself.
    began=$(date +%s)
    node=$(clean "$(uname -n)")
    host=$node
    dir=$out/$node
    namespace=
    record_host

    # 2) The namespaces that are not its own, each once.
    seen=" $(inode /proc/self/ns/net) "
    taken=" "
    namespaces >"$scratch/namespaces"
    while read -r name namespace; do
        number=$(inode "$namespace")
        case $seen in
        *" ${number:-?} "*) continue ;;
        esac
        name=$(clean "$name")
        case $taken in
        *" $name "*) name=$name-$number ;;
        esac
        if [ -z "$number" ] || ! enter true 2>"$scratch/errors"; then
            say "the namespace $name can't be entered: $(reason)"
            continue
        fi
        seen="$seen$number "
        taken="$taken$name "
        host=$node/ns/$name
        dir=$out/$node/ns/$name
        [ "$(date +%s)" -le "$began" ] || say "recording $host"
        record_host
    done <"$scratch/namespaces"

    # 3) The wires between them.
    topology
    [ -z "$missing" ] || say "not installed, so not recorded:$missing"
}

# The shell has read everything before it begins, also where the script comes from a pipe.
main "$@"
