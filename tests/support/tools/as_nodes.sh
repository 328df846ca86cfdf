#!/bin/bash
# as_nodes.sh PROGRAM [ARGUMENT]...: under mpirun, and as root: every rank has a host name of its own, so that NCCL and our
# own check take the ranks for as many nodes, and ranks over NCCL may share one GPU. Their messages go through sockets and
# they take turns on the GPU, so what comes out is right but slow: for numbers and errors, not for speed.
#   build/gpu/tests/with_ranks 2 tests/support/tools/as_nodes.sh build/gpu/tests/test_mpi_train_nccl
set -euo pipefail
rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:?start it under mpirun}}
export NCCL_HOSTID=node$rank NCCL_SOCKET_IFNAME=lo NCCL_P2P_DISABLE=1 NCCL_SHM_DISABLE=1 NCCL_IB_DISABLE=1
exec unshare --uts bash -c 'hostname "$NCCL_HOSTID"; exec "$@"' as_node "$@"
