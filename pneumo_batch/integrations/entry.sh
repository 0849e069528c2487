#!/bin/sh
# Starts a submitted job in Ray's own Python, which need not be the one on PATH: the raylet, which started the job's
# supervisor, names it. Where none is named (no Linux), in the one on PATH.
raylet=$(sed -n 's/^PPid:[[:space:]]*//p' "/proc/$PPID/status" 2>/dev/null)
python=$(tr '\0' '\n' 2>/dev/null <"/proc/${raylet:-none}/cmdline" | sed -n 's/^--python_worker_command=\([^ ]*\) .*/\1/p')
[ -x "$python" ] || python=$(command -v python || command -v python3) || {
  echo "pneumo-batch: no python on PATH on the head of the cluster: put the folder of Ray's own there" >&2
  exit 2
}
"$python" -c '
import importlib.util, sys
missing = [name for name in ("ray", "torch", "pyarrow", "pydantic", "click") if not importlib.util.find_spec(name)]
if missing:
    sys.stderr.write(
        f"pneumo-batch: {sys.executable} on the head of the cluster has no {missing[0]}: put the folder of the Python in "
        "which Ray and the dependencies of pneumo-batch are installed on PATH where ray start is called\n"
    )
    sys.exit(2)
' || exit 2
exec "$python" -m pneumo_batch.cli "$@"
