#!/usr/bin/env bash
# Runs a command beside a SLURM of its own, whose only node is this machine, as root on Debian
# (apt install slurmctld slurmd slurm-client munge):
#   tools/one_node_slurm.sh sbatch --wait train.sbatch
set -euo pipefail

folder=$(mktemp -d)
node=$(hostname -s)
end() {
  for name in slurmd slurmctld munge/munged; do
    process=$(cat "$folder/$name.pid" 2>/dev/null) || continue
    kill "$process" 2>/dev/null || true
    while [ -e "$folder/$name.pid" ] && kill -0 "$process" 2>/dev/null; do sleep 0.1; done
  done
  rm -rf "$folder"
}
trap end EXIT
chmod 755 "$folder"
mkdir "$folder"/{state,spool,munge}
cat > "$folder/slurm.conf" <<CONF
ClusterName=one
SlurmctldHost=$node
SlurmUser=root
AuthInfo=socket=$folder/munge/socket
SlurmctldPort=26817
SlurmdPort=26818
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
MpiDefault=none
KillWait=30
NodeName=$node CPUs=$(nproc) RealMemory=$(awk "/MemTotal/ {print int(\$2 / 1024)}" /proc/meminfo)
PartitionName=all Nodes=ALL Default=YES State=UP
CONF
export SLURM_CONF=$folder/slurm.conf

# It keeps its key and socket from all other users.
dd if=/dev/urandom of="$folder/munge/key" bs=1024 count=1 status=none
chown -R munge "$folder/munge"
chmod 400 "$folder/munge/key"
chmod 711 "$folder/munge"
su munge -s /bin/sh -c "munged --socket=$folder/munge/socket --key-file=$folder/munge/key \
  --pid-file=$folder/munge/munged.pid --log-file=$folder/munge/log --seed-file=$folder/munge/seed"
slurmctld
slurmd
until [ "$(sinfo --noheader --format=%T)" = idle ]; do sleep 0.2; done
"$@"
