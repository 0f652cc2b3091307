# unit.sh ROOT PLACE UID CALLS FAMILIES COMMAND…: see unit.ts, which runs this in a mount namespace of its own.
set -eu
root=$1 place=$2 user=$3 calls=$4 families=$5
shift 5

chown -R "$user:$user" "$place/state" "$place/credentials"
chmod 0700 "$place/state" "$place/credentials"

mount -t tmpfs -o mode=0755 tmpfs /opt
mkdir /opt/sallyport
mount --bind "$root" /opt/sallyport
# StateDirectory=, RuntimeDirectory=, LoadCredential=
mount -t tmpfs -o mode=0755 tmpfs /var/lib
mkdir /var/lib/sallyport
mount --bind "$place/state" /var/lib/sallyport
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p /run/sallyport /run/credentials/sallyport.service /run/config
mount -t tmpfs -o "mode=0700,uid=$user,gid=$user" tmpfs /run/sallyport
mount --bind "$place/credentials" /run/credentials/sallyport.service
cp "$place/sallyport.yaml" /run/config/sallyport.yaml
# PrivateTmp=, ProtectHome=
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=0000 tmpfs /home
mount -t tmpfs -o mode=0000 tmpfs /root
# ProtectProc=invisible, ProcSubset=pid
mount -t proc -o hidepid=invisible,subset=pid proc /proc
# ProtectSystem=strict: all but these, /dev and what the kernel shows of itself.
findmnt --raw --noheadings --output TARGET | while read -r target; do
  case $target in
    /var/lib/sallyport | /run/sallyport | /tmp | /proc | /proc/* | /dev | /dev/*) ;;
    *) mount -o remount,bind,ro "$target" 2>/dev/null || [ "$target" != / ] ;;
  esac
done

cd /var/lib/sallyport
umask 0077
export PATH="/opt/sallyport/node_modules/.bin:/usr/local/bin:/usr/bin:/bin"
exec setpriv --reuid "$user" --regid "$user" --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs \
  /usr/bin/python3 /opt/sallyport/test/support/confine.py "$calls" "$families" "$@"
