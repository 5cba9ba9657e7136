"""nginx with its own limit_req: a leaky bucket in its shared memory. The cheapest limit there is, and not a shared one.

Debian: nginx.
"""

from benchmarks.peers.shape import Peer, Place, debian

CONFIG = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log crit; user root;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; keepalive_requests 1000000000; tcp_nodelay on;
  log_format calls escape=json '{{"time":$msec,"tenant":"$http_x_tenant","ip":"$remote_addr",'
    '"method":"$request_method","path":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time}}';
  access_log {log} calls;
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  limit_req_zone $http_x_tenant zone=tenants:10m rate={rate};
  limit_req_status 429;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      limit_req zone=tenants {burst};
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection '';
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


def command(place: Place) -> list[str]:
    """One worker. A leaky bucket knows rates only: as good as none, or one call a minute."""
    rate, burst = ("1r/m", "") if place.limit == 1 else ("100000r/s", "burst=100000 nodelay")
    values = {"port": place.port, "upstream": place.upstream_port, "rate": rate, "burst": burst}
    (place.folder / "nginx.conf").write_text(CONFIG.format(folder=place.folder, log=place.log, **values))
    return ["nginx", "-c", str(place.folder / "nginx.conf")]


PEER = Peer("nginx-limit-req", command, "own memory", "leaky bucket", lambda: debian("nginx"))
