"""nginx with a Lua limiter on Redis: the floor for gateways built of these parts (no router, no plugins, one limit).

Debian: nginx libnginx-mod-http-lua lua-nginx-redis.
"""

from benchmarks.peers.shape import Peer, Place, debian

LIMITER = """
local count = [[
local used = redis.call('INCR', KEYS[1])
if used == 1 then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end
return {used, redis.call('PTTL', KEYS[1])}]]
local name = ngx.sha1_bin(count):gsub('.', function(byte) return ('%02x'):format(byte:byte()) end)
local redis = require('nginx.redis')
redis.add_commands('evalsha')
return function(port, limit)
  local link = redis:new()
  link:set_timeout(1000)
  assert(link:connect('127.0.0.1', port))
  local key = 'bench:' .. (ngx.var.http_x_tenant or '')
  local answer, why = link:evalsha(name, 1, key, 600000)
  if why and why:find('NOSCRIPT', 1, true) then answer = link:eval(count, 1, key, 600000) end
  if not answer then return ngx.exit(503) end
  link:set_keepalive(60000, 128)
  ngx.header['X-RateLimit-Limit'] = limit
  ngx.header['X-RateLimit-Remaining'] = math.max(0, limit - answer[1])
  if answer[1] > limit then
    ngx.header['Retry-After'] = math.ceil(answer[2] / 1000)
    return ngx.exit(429)
  end
end
"""
CONFIG = """daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log error; user root;
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
events {{ worker_connections 4096; }}
http {{
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5; keepalive_requests 1000000000; tcp_nodelay on;
  log_format calls escape=json '{{"time":$msec,"tenant":"$http_x_tenant","ip":"$remote_addr",'
    '"method":"$request_method","path":"$uri","status":$status,"bytes":$body_bytes_sent,"seconds":$request_time}}';
  access_log {log} calls;
  upstream api {{ server 127.0.0.1:{upstream}; keepalive 256; keepalive_requests 1000000000; }}
  lua_package_path '{folder}/?.lua;/usr/share/lua/5.1/?.lua;;';
  init_by_lua_block {{ limit = require 'limiter' }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      access_by_lua_block {{ limit({store}, {limit}) }}
      proxy_pass http://api; proxy_http_version 1.1; proxy_set_header Connection ''; proxy_request_buffering off;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
    }}
  }}
}}
"""


def command(place: Place) -> list[str]:
    """One worker, Debian's modules."""
    (place.folder / "limiter.lua").write_text(LIMITER)
    values = {"port": place.port, "upstream": place.upstream_port, "store": place.store_port, "limit": place.limit}
    (place.folder / "nginx.conf").write_text(CONFIG.format(folder=place.folder, log=place.log, **values))
    return ["nginx", "-c", str(place.folder / "nginx.conf")]


PEER = Peer(
    "nginx-lua-redis",
    command,
    "Redis",
    "fixed window",
    lambda: debian("nginx", "libnginx-mod-http-lua", "lua-nginx-redis"),
)
