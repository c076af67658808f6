"""Rule files for bench/rules: what teams write about services and nodes, one set a service, one a pool of nodes, one for all.

The series they are about are those of bench/rules_make.c.
"""
import json

POOL_SERVICES = 10  # as bench/rules_make.c counts

# {s}: the service's job. A recording rule has a name and an expression, an alert a `for` too.
SERVICE = {
    'requests': [
        ('job_code:http_requests:rate5m', 'sum by (job, code) (rate(http_requests_total{{job="{s}"}}[5m]))'),
        ('job_handler:http_requests:rate5m', 'sum by (job, handler) (rate(http_requests_total{{job="{s}"}}[5m]))'),
        ('instance:http_requests:rate2m', 'sum by (instance, job) (rate(http_requests_total{{job="{s}"}}[2m]))'),
        ('job:http_errors:ratio5m', 'sum by (job) (rate(http_requests_total{{job="{s}",code=~"5.."}}[5m])) / '
                                    'sum by (job) (rate(http_requests_total{{job="{s}"}}[5m]))'),
        ('job:grpc_handled:rate5m', 'sum by (job, grpc_method, grpc_code) (rate(grpc_server_handled_total{{job="{s}"}}[5m]))'),
    ],
    'latency': [
        ('job:http_request_duration_seconds:p99', 'histogram_quantile(0.99, sum by (job, le) '
                                                  '(rate(http_request_duration_seconds_bucket{{job="{s}"}}[5m])))'),
        ('job:http_request_duration_seconds:p50', 'histogram_quantile(0.5, sum by (job, le) '
                                                  '(rate(http_request_duration_seconds_bucket{{job="{s}"}}[5m])))'),
        ('handler:http_request_duration_seconds:p95',
         'histogram_quantile(0.95, sum by (job, handler, le) (rate(http_request_duration_seconds_bucket{{job="{s}"}}[5m])))'),
        ('job:http_request_duration_seconds:mean', 'sum by (job) (rate(http_request_duration_seconds_sum{{job="{s}"}}[5m])) / '
                                                   'sum by (job) (rate(http_request_duration_seconds_count{{job="{s}"}}[5m]))'),
    ],
    'burn': [
        ('job:slo_errors:ratio1m', 'sum by (job) (rate(http_requests_total{{job="{s}",code=~"5.."}}[1m])) / '
                                   'sum by (job) (rate(http_requests_total{{job="{s}"}}[1m]))'),
        ('job:slo_errors:ratio3m', 'sum by (job) (rate(http_requests_total{{job="{s}",code=~"5.."}}[3m])) / '
                                   'sum by (job) (rate(http_requests_total{{job="{s}"}}[3m]))'),
        ('ErrorBudgetBurn', 'job:slo_errors:ratio1m{{job="{s}"}} > 0.05 and job:slo_errors:ratio3m{{job="{s}"}} > 0.02', '0s'),
        ('HighErrorRate', 'sum by (job) (rate(http_requests_total{{job="{s}",code=~"5.."}}[2m])) / '
                          'sum by (job) (rate(http_requests_total{{job="{s}"}}[2m])) > 0.05', '30s'),
        ('HandlerFails', 'sum by (job, handler) (rate(http_requests_total{{job="{s}",code="500"}}[2m])) > 5', '0s'),
        ('LatencyHigh', 'job:http_request_duration_seconds:p99{{job="{s}"}} > 1', '1m'),
        ('GrpcFails', 'sum by (job, grpc_method) (rate(grpc_server_handled_total{{job="{s}",grpc_code!~"OK|NotFound"}}[5m])) / '
                      'sum by (job, grpc_method) (rate(grpc_server_handled_total{{job="{s}"}}[5m])) > 0.9', '5m'),
    ],
    'instances': [
        ('InstanceDown', 'up{{job="{s}"}} == 0', '30s'),
        ('Absent', 'absent(up{{job="{s}"}})', '1m'),
        ('MostAreDown', 'avg by (job) (up{{job="{s}"}}) < 0.5', '1m'),
        ('job:up:count', 'count by (job) (up{{job="{s}"}} == 1)'),
        ('MemoryNearLimit', 'max by (namespace, pod, container) (container_memory_working_set_bytes{{job="{s}"}}) / '
                            'on (namespace, pod, container) group_left () '
                            'max by (namespace, pod, container) (container_spec_memory_limit_bytes{{job="{s}"}}) > 0.9', '30s'),
        ('CpuThrottled', 'sum by (namespace, pod, container) (increase(container_cpu_cfs_throttled_periods_total{{job="{s}"}}[5m]))'
                         ' / sum by (namespace, pod, container) (increase(container_cpu_cfs_periods_total{{job="{s}"}}[5m]))'
                         ' > 0.25', '1m'),
        ('Restarts', 'increase(kube_pod_container_status_restarts_total{{job="{s}"}}[3m]) > 3', '0s'),
        ('NotReady', 'min by (namespace, pod) (kube_pod_container_status_ready{{job="{s}"}}) == 0', '1m'),
        ('FileDescriptors', 'process_open_fds{{job="{s}"}} / process_max_fds{{job="{s}"}} > 0.6', '30s'),
        ('GoroutinesRise', 'deriv(go_goroutines{{job="{s}"}}[3m]) > 1.5', '0s'),
        ('GoroutinesHigh', 'max_over_time(go_goroutines{{job="{s}"}}[2m]) > 470', '0s'),
    ],
    'resources': [
        ('namespace_pod:container_cpu:rate5m',
         'sum by (namespace, pod) (rate(container_cpu_usage_seconds_total{{job="{s}"}}[5m]))'),
        ('node:container_cpu:rate5m', 'sum by (node) (sum by (namespace, pod) '
                                      '(rate(container_cpu_usage_seconds_total{{job="{s}"}}[5m])) * on (namespace, pod) '
                                      'group_left (node) kube_pod_info{{job="{s}"}})'),
        ('job:container_memory:ratio', 'sum by (job) (container_memory_working_set_bytes{{job="{s}"}}) / '
                                       'sum by (job) (container_spec_memory_limit_bytes{{job="{s}"}})'),
        ('job:process_cpu:rate5m', 'avg by (job) (rate(process_cpu_seconds_total{{job="{s}"}}[5m]))'),
        ('job:cache:hit_ratio', 'sum by (job) (rate(cache_requests_total{{job="{s}",result="hit"}}[5m])) / '
                                'sum by (job) (rate(cache_requests_total{{job="{s}"}}[5m]))'),
        ('job_db:operations:rate5m', 'sum by (job, db, operation) (rate(db_client_operations_total{{job="{s}"}}[5m]))'),
        ('job:go_gc_duration_seconds:mean', 'sum by (job) (rate(go_gc_duration_seconds_sum{{job="{s}"}}[5m])) / '
                                            'sum by (job) (rate(go_gc_duration_seconds_count{{job="{s}"}}[5m]))'),
        ('namespace_pod:container_network:rate2m',
         'sum by (namespace, pod) (rate(container_network_receive_bytes_total{{job="{s}"}}[2m]) + '
         'rate(container_network_transmit_bytes_total{{job="{s}"}}[2m]))'),
        ('HeapLeaks', 'go_memstats_heap_inuse_bytes{{job="{s}"}} - go_memstats_heap_inuse_bytes{{job="{s}"}} offset 2m > 3e7 and '
                      'rate(go_memstats_mallocs_total{{job="{s}"}}[5m]) > rate(go_memstats_frees_total{{job="{s}"}}[5m])', '30s'),
        ('QueueFills', 'sum by (job, queue) (queue_depth{{job="{s}"}}) > 14000 and '
                       'sum by (job, queue) (rate(queue_messages_total{{job="{s}"}}[5m])) > 0', '30s'),
        ('QueueStands', 'sum by (job, queue) (rate(queue_messages_total{{job="{s}"}}[2m])) == 0 unless '
                        'sum by (job, queue) (queue_depth{{job="{s}"}}) == 0', '2m'),
    ],
}

# {p}: the pool.
POOL = {
    'node': [
        ('instance:node_cpu:busy_ratio', '1 - avg by (instance, pool) (rate(node_cpu_seconds_total{{pool="{p}",mode="idle"}}[5m]))'),
        ('instance_mode:node_cpu:rate5m', 'sum by (instance, mode) (rate(node_cpu_seconds_total{{pool="{p}"}}[5m]))'),
        ('instance:node_memory:used_ratio', '1 - node_memory_MemAvailable_bytes{{pool="{p}"}} / '
                                            'node_memory_MemTotal_bytes{{pool="{p}"}}'),
        ('instance:node_network_receive:rate5m', 'sum by (instance) (rate(node_network_receive_bytes_total{{pool="{p}",'
                                                 'device!~"lo|cni.*|flannel.*"}}[5m]))'),
        ('instance_device:node_disk_io_time:rate5m', 'rate(node_disk_io_time_seconds_total{{pool="{p}"}}[5m])'),
        ('FilesystemAlmostFull', 'node_filesystem_avail_bytes{{pool="{p}"}} / node_filesystem_size_bytes{{pool="{p}"}} * 100 < 35 '
                                 'and node_filesystem_readonly{{pool="{p}"}} == 0', '30s'),
        ('FilesystemFillsUp', 'predict_linear(node_filesystem_avail_bytes{{pool="{p}"}}[5m], 4 * 3600) < 0 and '
                              'node_filesystem_readonly{{pool="{p}"}} == 0', '1m'),
        ('NetworkReceiveErrors', 'rate(node_network_receive_errs_total{{pool="{p}"}}[2m]) / '
                                 'rate(node_network_receive_packets_total{{pool="{p}"}}[2m]) > 0.005', '30s'),
        ('LoadHigh', 'node_load1{{pool="{p}"}} / on (instance) count by (instance) '
                     '(node_cpu_seconds_total{{pool="{p}",mode="idle"}}) > 0.9', '30s'),
        ('NodeDown', 'up{{job="node",pool="{p}"}} == 0', '1m'),
        ('ClockSkew', 'abs(node_timex_offset_seconds{{pool="{p}"}}) > 0.05 and deriv(node_timex_offset_seconds{{pool="{p}"}}[5m]) '
                      '>= 0', '1m'),
        ('ConntrackNearLimit', 'node_nf_conntrack_entries{{pool="{p}"}} / node_nf_conntrack_entries_limit{{pool="{p}"}} > 0.75',
         '30s'),
        ('MajorFaults', 'rate(node_vmstat_pgmajfault{{pool="{p}"}}[5m]) > 500', '1m'),
        ('pool:node_cpu:busy_ratio', 'avg by (pool) (instance:node_cpu:busy_ratio{{pool="{p}"}})'),
    ],
}

ALL = {
    'cluster': [
        ('namespace:http_requests:rate5m', 'sum by (namespace) (rate(http_requests_total[5m]))'),
        ('cluster:container_cpu:rate5m', 'sum by (cluster, namespace) (rate(container_cpu_usage_seconds_total[5m]))'),
        ('cluster:container_memory:sum', 'sum by (cluster, namespace) (container_memory_working_set_bytes)'),
        ('cluster:node_cpu:busy_ratio', '1 - avg by (cluster) (rate(node_cpu_seconds_total{{mode="idle"}}[5m]))'),
        ('job:up:ratio', 'avg by (job) (up)'),
        ('TopMemory', 'topk(10, sum by (namespace, pod) (container_memory_working_set_bytes)) > 1e15', '0s'),
        ('Watchdog', 'vector(1)', '0s'),
        ('TargetsMissing', '100 * count by (job) (up == 0) / count by (job) (up) > 10', '30s'),
        ('PrometheusAbsent', 'absent(up{{job="prometheus-k8s"}})', '1m'),
        ('pods:count', 'count by (namespace, phase) (kube_pod_status_phase == 1)'),
    ],
}


def is_alert(spec):
    return len(spec) == 3


def rule_of(spec, names):
    expr = spec[1].format(**names)
    own = {'team': names['n'], 'service': names['s']} if 's' in names else {'node_pool': names['p']} if 'p' in names else {}
    if not is_alert(spec):
        return {'record': spec[0], 'expr': expr, 'labels': own}
    rule = {'alert': spec[0], 'expr': expr, 'labels': own | {'severity': 'critical' if spec[2] == '0s' else 'warning'},
            'annotations': {'summary': f'{spec[0]} of {{{{ $labels.job }}}} {{{{ $labels.instance }}}}',
                            'description': f'{spec[0]}: {{{{ $value | humanize }}}}'}}
    if spec[2] != '0s':
        rule['for'] = spec[2]
    return rule


def groups_of(templates, names, suffix):
    return [{'name': f'{name}{suffix}', 'rules': [rule_of(spec, names) for spec in specs]}
            for name, specs in templates.items()]


def write(directory, services, interval_s):
    """One file a service, a pool, and the cluster; returns how many rules there are."""
    files = {'all': groups_of(ALL, {}, '')}
    for pool in range((services + POOL_SERVICES - 1) // POOL_SERVICES):
        files[f'pool-{pool}'] = groups_of(POOL, {'p': f'pool-{pool}'}, f'-pool-{pool}')
    for service in range(services):
        names = {'s': f'service-{service}', 'n': f'team-{service // 4}'}
        files[f'service-{service}'] = groups_of(SERVICE, names, f'-{service}')
    for group in (group for groups in files.values() for group in groups):
        group['interval'] = f'{interval_s}s'
    count = sum(len(group['rules']) for groups in files.values() for group in groups)
    for name, groups in files.items():
        (directory / f'{name}.json').write_text(json.dumps({'groups': groups}), encoding='ascii')  # JSON is YAML
    return count
