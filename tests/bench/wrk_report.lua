-- Prints what wrk measured as one line of JSON; times in microseconds.
-- With BENCH_BODY in the environment requests post it.
local body = os.getenv('BENCH_BODY')
if body and body ~= '' then
  wrk.method = 'POST'
  wrk.body = body
end
-- With BENCH_PATHS they ask for those in turns.
local paths = {}
for path in (os.getenv('BENCH_PATHS') or ''):gmatch('[^\n]+') do
  paths[#paths + 1] = path
end
if #paths > 0 then
  local asked = 0
  request = function()
    asked = asked % #paths + 1
    return wrk.format(nil, paths[asked])
  end
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON{"requests":%d,"duration":%d,"p50":%d,"p95":%d,"p99":%d,"max":%d,"errors":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(95),
    latency:percentile(99), latency.max,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
