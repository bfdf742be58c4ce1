#!/bin/sh
# voxgrad and PyTorch on this machine's GPU. Usage: ./run.sh [--minutes 10] [--small] [--out FOLDER] ...
# (--help names all). Writes FOLDER (./results): results.md, results.json, profiles.txt, tuned.json.
# Everything it needs is here, but for the GPU's driver and a Python with PyTorch: $VOXGRAD_PYTHON, /usr/bin/python3 or
# python3, without which voxgrad is measured alone. $VK_DRIVER_FILES, where it is set, names the Vulkan drivers.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
node=$here/bin/node

libraries=$here/lib
for folder in /usr/local/nvidia/lib64 /usr/local/nvidia/lib /usr/lib/wsl/lib; do
  if [ -d "$folder" ]; then libraries=$libraries:$folder; fi
done
export LD_LIBRARY_PATH="$libraries${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

"$node" --version >/dev/null || {
  echo "run.sh: Node does not start here; it needs Linux on x64, glibc 2.28 and libstdc++" >&2
  exit 1
}

# Whether the library $1 loads; else why not. Node says of any library that is no addon that it did not register itself.
loads() {
  "$node" -e 'try { process.dlopen({ exports: {} }, process.argv[1]) } catch (e) {
    if (!e.message.includes("self-register")) { console.error("  " + e.message); process.exit(1) } }' "$1"
}

if [ -z "${VK_DRIVER_FILES:-}" ]; then
  drivers=
  nvidia=
  for file in /etc/vulkan/icd.d/*.json /usr/share/vulkan/icd.d/*.json /usr/local/share/vulkan/icd.d/*.json \
    /usr/local/nvidia/share/vulkan/icd.d/*.json /usr/local/nvidia/vulkan/icd.d/*.json; do
    if [ ! -e "$file" ]; then continue; fi
    case $file in
      *nvidia*) nvidia=$file ;;
      *) drivers=${drivers:+$drivers:}$file ;;
    esac
  done
  if [ -n "$nvidia" ] || [ -e /dev/nvidiactl ]; then
    # The driver is one library under two names, of which the first needs X's, which a server may not have.
    library=libGLX_nvidia.so.0
    if ! loads $library; then
      if LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$here/lib/x11 loads $library; then
        export LD_LIBRARY_PATH="$LD_LIBRARY_PATH:$here/lib/x11"
      elif loads libEGL_nvidia.so.0; then
        library=libEGL_nvidia.so.0
        nvidia=
      else
        echo "run.sh: NVIDIA's driver has no Vulkan part here (a container needs NVIDIA_DRIVER_CAPABILITIES=all)" >&2
      fi
    fi
    if [ -z "$nvidia" ]; then
      nvidia=$(mktemp -d)/nvidia_icd.json
      printf '{"file_format_version":"1.0.0","ICD":{"library_path":"%s","api_version":"1.3.0"}}\n' $library >"$nvidia"
    fi
    drivers=$nvidia${drivers:+:$drivers}
  fi
  export VK_DRIVER_FILES="$drivers"
fi
echo "Vulkan drivers: ${VK_DRIVER_FILES:-none}"
if command -v nvidia-smi >/dev/null; then
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader || true
fi

exec "$node" "$here/bench/gpu/gpu.js" "$@"
