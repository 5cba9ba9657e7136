// A reverse proxy with a limit per tenant, put together as the plugins' own pages show.
const { PORT, UPSTREAM, STORE_PORT, LOG, LIMIT } = process.env;
const { Redis } = require('ioredis');
const pino = require('pino');

const tenant = (request) => request.headers['x-tenant'] || 'anonymous';

const app = require('fastify')({
  disableRequestLogging: true,
  keepAliveTimeout: 3600_000,
  loggerInstance: pino(pino.destination(LOG)),
});

app.addHook('onResponse', (request, reply, done) => {
  request.log.info({
    tenant: tenant(request),
    ip: request.ip,
    method: request.method,
    path: request.url,
    status: reply.statusCode,
    bytes: reply.getHeader('content-length'),
    ms: reply.elapsedTime,
  }, 'call');
  done();
});

app.register(require('@fastify/rate-limit'), {
  max: Number(LIMIT),
  timeWindow: 600_000,
  keyGenerator: tenant,
  redis: new Redis(Number(STORE_PORT), '127.0.0.1'),
});
app.register(require('@fastify/http-proxy'), { upstream: `http://${UPSTREAM}`, disableRequestLogging: true });
app.listen({ port: Number(PORT), host: '127.0.0.1', backlog: 4096 });
