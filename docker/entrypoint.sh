#!/usr/bin/env bash
# What a container of the image does, by its first word. Each role replaces this shell, so that signals reach it.
set -euo pipefail

home=${SEGUE_HOME:-/opt/segue}
flink=${FLINK_HOME:-/opt/flink}
note=${SEGUE_ROLE_FILE:-/tmp/segue-role}  # which role runs here, for the health check

usage() {
    cat <<'END'
usage: docker run segue:local ROLE [ARGUMENT ...]

  jobmanager    Flink's JobManager, with its web page and REST endpoint on port 8081
  taskmanager   a TaskManager of one slot
  topics        create the topics that are missing, then end
  submit        submit the job unless it runs, from its newest snapshot if there is one, then end
  shop          play the simulated shop until stopped
  segue ...     the segue command: `segue rules list`, `segue tail`, `segue doctor` ...
  flink ...     Flink's own command: `flink list`, `flink stop` ...

Settings: the file that SEGUE_SETTINGS names, with SEGUE_PART__KEY variables on top.
END
}

listens() { (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; }

serves() {  # $1 host, $2 port: whether Flink's REST endpoint answers with 200
    local status
    exec 3<>"/dev/tcp/$1/$2" || return 1
    printf 'GET /overview HTTP/1.0\r\nHost: %s\r\n\r\n' "$1" >&3
    read -r -t 5 _ status _ <&3 || return 1
    [ "$status" = 200 ]
}

role=${1:-help}
[ $# -eq 0 ] || shift

case "$role" in
    jobmanager)
        echo jobmanager >"$note"
        exec "$flink/bin/jobmanager.sh" start-foreground "$@"
        ;;
    taskmanager)
        echo taskmanager >"$note"
        exec "$flink/bin/taskmanager.sh" start-foreground "$@"
        ;;
    topics | submit | shop)
        exec python "$home/docker/roles.py" "$role" "$@"
        ;;
    segue)
        cd "$home"
        exec python -m cli "$@"
        ;;
    flink)
        exec "$flink/bin/flink" "$@"
        ;;
    health)
        case "$(cat "$note" 2>/dev/null || true)" in
            jobmanager) serves 127.0.0.1 8081 ;;
            taskmanager) listens 127.0.0.1 6122 ;;
            *) true ;;
        esac
        ;;
    help | -h | --help)
        usage
        ;;
    *)
        echo "unknown role: $role" >&2
        usage >&2
        exit 2
        ;;
esac
