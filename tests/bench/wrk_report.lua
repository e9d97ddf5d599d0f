-- Prints what wrk measured as one line of JSON; times in microseconds.
-- With BENCH_BODY in the environment requests post it.
local body = os.getenv('BENCH_BODY')
if body and body ~= '' then
  wrk.method = 'POST'
  wrk.body = body
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON{"requests":%d,"duration":%d,"p50":%d,"p95":%d,"p99":%d,"max":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
