#!/bin/sh
# A small Slurm, real but for its hardware, on this machine and for a while: what the tests of the cluster run on.
#   tools/slurm.sh up FOLDER      starts it, all its files in FOLDER, and prints `export SLURM_CONF=...`
#   tools/slurm.sh down FOLDER    kills all that runs in it, jobs included, and removes what it had put in FOLDER
#   tools/slurm.sh hold FOLDER    up, then down as soon as standard input ends: nothing outlives who asked for it
# With `accounting` as a third word, `up` and `hold` start slurmdbd and a MariaDB of its own too: accounts, QoS and their
# limits are then enforced, and none exists but what sacctmgr is told. Without it any account and QoS is accepted.
# Needs root; what is missing of Slurm, munge and MariaDB is installed where there is apt-get. Clusters in two folders live side
# by side. Exit codes: 1 Slurm is here but does not come up or end, 2 wrong use, 3 it cannot be had (and it says why).
set -eu
PATH=$PATH:/usr/sbin:/sbin
export PATH
unset SLURM_CONF # of another cluster
packages="slurm-wlm munge"
programs="slurmctld slurmd sbatch munged mungekey"
nodes="n1 n2"
unshare="unshare --mount --uts --pid --fork --kill-child --mount-proc"
made="db etc gpu log munge spool state"

say() {
    echo "slurm: $*" >&2
}

wrong_use() {
    say "$1"
    exit 2
}

cannot() {
    say "$1"
    exit 3
}

# ---- what it needs

complete() {
    for program in $programs; do
        command -v "$program" > /dev/null || return 1
    done
    id munge > /dev/null 2>&1
}

# The lists of packages may be old, missing, or as good as new: they are fetched only when it fails without.
install_packages() {
    apt install $packages && return
    apt update || true
    apt install $packages
}

# A service that a package starts must not keep the lock.
apt() {
    DEBIAN_FRONTEND=noninteractive timeout 300 apt-get -qq --no-install-recommends -o Acquire::http::Timeout=20 \
        -o Acquire::Retries=1 -o DPkg::Lock::Timeout=120 "$@" > /dev/null 2>&1 < /dev/null 9>&-
}

require() {
    [ "$(id -u)" = 0 ] || cannot "its daemons need root to be started and to run jobs, and this is an ordinary user"
    $unshare true 2> /dev/null || cannot "its nodes need namespaces of their own, and root may not make any here"
    complete && return
    command -v apt-get > /dev/null || cannot "it is not installed, and there is no apt-get to install it with"
    install_packages || cannot "it is not installed, and 'apt-get install $packages' failed. Is there a network?"
    complete || cannot "after 'apt-get install $packages' its programs are still not all here"
}

# ---- the folder

# Slurm's files cannot hold spaces, sockets have short paths, and all of `made` is removed: hence so picky.
check_folder() {
    case "$folder" in
        /*) ;;
        *) wrong_use "the folder's path must be absolute, and this is not: $folder" ;;
    esac
    case "$folder" in
        *[!A-Za-z0-9/._-]*) wrong_use "the folder's path may hold letters, digits and / . _ - only: $folder" ;;
    esac
    [ ${#folder} -le 64 ] || wrong_use "the folder's path is longer than 64 characters: $folder"
}

lay_out() {
    umask 022
    if [ -d "$folder" ] && ! is_ours && [ -n "$(ls -A "$folder")" ]; then
        wrong_use "the folder holds something else: $folder"
    fi
    mkdir -p "$folder"
    echo "$cluster" > "$mark"
    clear_away
    mkdir -p "$folder/etc" "$folder/log" "$folder/munge" "$folder/state"
    for node in $nodes; do
        mkdir -p "$folder/spool/$node"
    done
    chown munge:munge "$folder/munge"
    as_munge test -w "$folder/munge" && return
    clear_away
    rm "$mark"
    wrong_use "the user munge cannot enter $folder: take one that is below folders that everyone may enter"
}

is_ours() {
    [ "$(cat "$mark" 2> /dev/null)" = "$cluster" ]
}

clear_away() {
    for name in $made; do
        rm -rf "${folder:?}/$name"
    done
}

# ---- settings

# Whether any of the ports has a listener.
taken() {
    wanted=$(printf '%04X\n' "$@")
    cat /proc/net/tcp /proc/net/tcp6 2> /dev/null | awk '$4 == "0A" { sub(/.*:/, "", $2); print $2 }' \
        | grep -qxF "$wanted"
}

# Four free ports in a row. Where the search begins depends on the folder, so that a cluster mostly keeps its ports; it
# stays below those that the kernel gives away by itself.
find_ports() {
    port=$((20000 + 4 * (number % 2500)))
    while taken $port $((port + 1)) $((port + 2)) $((port + 3)); do
        port=$((port + 4))
    done
}

# A node has on paper what one of Jean Zay's H100 nodes has; config_overrides makes slurmd believe it. The same two are
# in each partition: what tests look at is which partition a job asks for. Scheduling is not put off, and a job that
# ended stays to be seen for an hour, since there is no accounting to ask.
write_settings() {
    cat > "$conf" << END
ClusterName=$cluster
SlurmctldHost=controller(127.0.0.1)
SlurmctldPort=$port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/state/slurmctld.pid
SlurmdPidFile=$folder/spool/%n/slurmd.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MailProg=/bin/true
MpiDefault=none
ReturnToService=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
EnforcePartLimits=ALL
MinJobAge=3600
KillWait=1
GresTypes=gpu
SlurmdParameters=config_overrides
$(accounting_settings)
$(node_settings)
PartitionName=gpu_p6 Nodes=ALL Default=YES DefaultTime=00:10:00 MaxTime=100:00:00 State=UP
PartitionName=cpu_p1 Nodes=ALL DefaultTime=00:10:00 MaxTime=100:00:00 State=UP
PartitionName=prepost Nodes=ALL DefaultTime=00:10:00 MaxTime=20:00:00 State=UP
END
    # A GPU must have a device, or jobs get no CUDA_VISIBLE_DEVICES; a link to one will do.
    mkdir "$folder/gpu"
    for gpu in 0 1 2 3; do
        ln -s /dev/null "$folder/gpu/$gpu"
    done
    echo "Name=gpu Type=h100 File=$folder/gpu/[0-3]" > "$folder/etc/gres.conf"
    { cat /etc/hosts && echo "127.0.0.1 controller $nodes"; } > "$folder/etc/hosts"
    # slurmd loads a cgroup plugin even if no other setting uses one; that it can be switched off is newer than 22.05.
    case "$(slurmd -V)" in
        *" 22."*) echo "CgroupPlugin=cgroup/v1" ;;
        *) echo "CgroupPlugin=disabled" ;;
    esac > "$folder/etc/cgroup.conf"
}

node_settings() {
    offset=1
    for node in $nodes; do
        echo "NodeName=$node NodeAddr=127.0.0.1 Port=$((port + offset))" \
            "Sockets=2 CoresPerSocket=48 ThreadsPerCore=2 RealMemory=512000 Gres=gpu:h100:4 Feature=h100"
        offset=$((offset + 1))
    done
}

# Without accounting sacct fails.
accounting_settings() {
    echo "JobAcctGatherType=jobacct_gather/none"
    if [ -z "$accounting" ]; then
        echo "AccountingStorageType=accounting_storage/none"
        return
    fi
    echo "AccountingStorageType=accounting_storage/slurmdbd"
    echo "AccountingStorageHost=127.0.0.1"
    echo "AccountingStoragePort=$((port + 3))"
    echo "AccountingStoragePass=$folder/munge/socket" # not AuthInfo's
    echo "AccountingStorageEnforce=associations,limits,qos"
    echo "AccountingStorageTRES=gres/gpu"
}

# It creates its tables itself. Only its owner may read the file, or it refuses.
write_accounting() {
    install -m 600 /dev/null "$folder/etc/slurmdbd.conf"
    cat > "$folder/etc/slurmdbd.conf" << END
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort=$((port + 3))
SlurmUser=root
LogFile=$folder/log/slurmdbd.log
PidFile=$folder/db/slurmdbd.pid
StorageType=accounting_storage/mysql
StorageHost=localhost
StorageUser=root
StorageLoc=accounting
END
}

# ---- processes

as_munge() {
    setpriv --reuid munge --regid munge --clear-groups "$@"
}

# Becomes a daemon: call it in a subshell. It gets the variable by which Slurm tells its jobs their cluster: by it
# `processes` finds them all. It must not keep the lock, nor a pipe that somebody reads to its end.
daemon() {
    exec env SLURM_CLUSTER_NAME="$cluster" "$@" < /dev/null >> "$folder/log/start.log" 2>&1 9>&-
}

# Runs a daemon on the host NAME: this machine, but with a name of its own that the others can resolve, and processes of
# its own. So jobs find each other, nodes differ by `hostname`, it does not matter what this machine is called, and the
# kernel kills whatever a job has started as soon as the first process, this shell, is killed.
on_host() {
    name=$1
    shift
    daemon setsid $unshare sh -euc 'mount --bind "$0" /etc/hosts; hostname "$1"; shift; "$@"; exit' \
        "$folder/etc/hosts" "$name" "$@" &
}

start_munge() {
    key=$folder/munge/key
    as_munge mungekey --create --keyfile="$key"
    (daemon setpriv --reuid munge --regid munge --clear-groups munged --key-file="$key" --origin=127.0.0.1 \
        --socket="$folder/munge/socket" --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" \
        --seed-file="$folder/munge/seed")
}

# Nothing here survives the cluster, so nothing waits for the disk.
start_accounting() {
    install -d -o mysql "$folder/db"
    mariadb-install-db --no-defaults --user=mysql --datadir="$folder/db/data" --skip-test-db \
        --auth-root-authentication-method=normal >> "$folder/log/start.log" 2>&1 || return 1
    (daemon setpriv --reuid mysql --regid mysql --clear-groups mariadbd --no-defaults --datadir="$folder/db/data" \
        --socket="$folder/db/socket" --pid-file="$folder/db/pid" --log-error="$folder/db/log" --skip-networking \
        --innodb-flush-log-at-trx-commit=0 --innodb-lock-wait-timeout=900 --innodb-buffer-pool-size=128M) &
    wait_until database_answers || return 1
    (daemon env SLURM_CONF="$conf" MYSQL_UNIX_PORT="$folder/db/socket" slurmdbd -D) &
    wait_until accounting_answers || return 1
    ask sacctmgr --immediate add cluster "$cluster" > /dev/null
}

database_answers() {
    timeout 3 mariadb-admin --no-defaults --socket="$folder/db/socket" ping > /dev/null 2>&1
}

accounting_answers() {
    ask sacctmgr --noheader show cluster > /dev/null
}

start() {
    start_munge || return 1
    [ -z "$accounting" ] || start_accounting || return 1
    on_host controller slurmctld -D -c -f "$conf"
    wait_until answers || return 1
    for node in $nodes; do
        on_host "$node" slurmd -D -N "$node" -f "$conf"
    done
}

ask() {
    SLURM_CONF=$conf timeout 3 "$@" 2> /dev/null
}

answers() {
    ask sinfo > /dev/null
}

idle() {
    [ "$(ask sinfo --noheader --partition=gpu_p6 --format='%T %D')" = "idle 2" ]
}

wait_until() {
    late=$(($(date +%s) + 30))
    until "$1"; do
        [ "$(date +%s)" -lt $late ] || return 1
        sleep 0.1
    done
}

# Whether all of it runs, busy or not.
is_up() {
    is_ours && [ -e "$conf" ] || return 1
    for port in $(sed -n 's/.*Port=\([0-9]*\).*/\1/p' "$conf"); do
        taken "$port" || return 1
    done
    answers
}

# Read off the processes, as the number in a pid file that a killed run left may be a stranger's by now. What does not
# carry the variable (a container's contents, a daemon that wrote its title over it) ends with its host.
processes() {
    grep -lzsxF "SLURM_CLUSTER_NAME=$cluster" /proc/[0-9]*/environ | cut -d/ -f3 || true
}

# Nothing in it is worth an orderly end. Again and again, as a process may start another while they are listed.
stop() {
    tries=0
    while left=$(processes) && [ -n "$left" ]; do
        [ $tries -lt 100 ] || return 1
        kill -KILL $left 2> /dev/null || true
        tries=$((tries + 1))
        sleep 0.05
    done
}

# ---- what can be asked for

up() {
    require
    if is_up; then
        echo "export SLURM_CONF=$conf"
        return
    fi
    stop || say "what an earlier run left in $folder cannot be killed"
    lay_out
    find_ports
    write_settings
    [ -z "$accounting" ] || write_accounting
    if ! { start && wait_until idle; }; then
        say "it does not come up; the ends of its logs:"
        tail -n 15 "$folder"/log/* "$folder/munge/log" >&2 || true
        stop || true
        exit 1
    fi
    echo "export SLURM_CONF=$conf"
}

down() {
    stop || { say "some of its processes cannot be killed: $left" && exit 1; }
    if is_ours; then
        clear_away
        rm "$mark"
        rmdir "$folder" 2> /dev/null || true # somebody put something in: that stays
    fi
}

# One at a time on a machine: two would take the same ports, or install at once.
locked() {
    (
        flock 9
        "$1"
    ) 9> "$lock"
}

hold() {
    code=0
    "$0" up "$folder" $accounting || code=$?
    [ $code != 0 ] || cat > /dev/null
    "$0" down "$folder"
    exit $code
}

usage="tools/slurm.sh up|down|hold FOLDER [accounting]"
accounting=${3:-}
case "$#$accounting" in
    2) ;;
    3accounting)
        packages="$packages slurmdbd mariadb-server"
        programs="$programs slurmdbd mariadbd mariadb-install-db"
        ;;
    *) wrong_use "$usage" ;;
esac
folder=$2
check_folder
conf=$folder/etc/slurm.conf
mark=$folder/cluster
number=$(echo "$folder" | cksum | cut -d' ' -f1)
cluster=lucie$number
lock=/run/lucie-slurm.lock
[ -w /run ] || lock=/dev/null # an ordinary user, who is told so in a moment
case "$1" in
    up | down) locked "$1" ;;
    hold) hold ;;
    *) wrong_use "$usage" ;;
esac
