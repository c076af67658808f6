"""A machine's /proc, /sys and /: with hardware that the machine at hand need not have, and with what is odd in such files."""
import os


def lines(*rows):
    return '\n'.join(rows) + '\n'


PROC = {
    'stat': lines(
        'cpu  300 40 500 60000 70 8 9 10 11 12', 'cpu0 100 20 300 30000 40 5 6 7 8 9', 'cpu1 200 20 200 30000 30 3 3 3 3 3',
        'cpu2 1 2 3 4 5 6 7 8 9 10', 'intr 38014093 0 1 2 3', 'ctxt 1014093', 'btime 1796000000', 'processes 26442', 'procs_running 2',
        'procs_blocked 1', 'softirq 5057579 250191 1481983 1647 211099 186066 0 1783454 622196 12499 508444'),
    'loadavg': '0.21 0.37 0.39 1/719 19737\n',
    'meminfo': lines(
        'MemTotal:        3742148 kB', 'MemFree:          225472 kB', 'MemAvailable:    2000000 kB', 'Active(anon):    2068484 kB',
        'Inactive(file):   316492 kB', 'HugePages_Total:       7', 'Hugepagesize:       2048 kB', 'DirectMap2M:     3915776 kB'),
    'vmstat': lines('nr_free_pages 977769', 'pgpgin 7344136', 'pgpgout 1541180297', 'pswpin 1476', 'pswpout 35045', 'pgfault 2320168809',
                    'pgmajfault 507162', 'oom_kill 3', 'pgsteal_kswapd 44'),
    'pressure/cpu': lines('some avg10=0.00 avg60=0.00 avg300=0.00 total=14036781'),
    'pressure/io': lines('some avg10=0.18 avg60=0.34 avg300=0.10 total=159886802', 'full avg10=0.18 avg60=0.34 avg300=0.10 total=159229614'),
    'pressure/memory': lines('some avg10=0.00 avg60=0.00 avg300=0.00 total=5', 'full avg10=0.00 avg60=0.00 avg300=0.00 total=1'),
    'schedstat': lines('version 15', 'timestamp 15819019232', 'cpu0 498494191 0 3533438552 2553969831 3853684107 2465731542 2045936778163039 343796328169361 4767485306',
                       'domain0 00000000,00000003 212499247 210112015', 'cpu1 518377256 0 4155211005 2778589869 10466382 2867629021 1904686152592476 364107263788241 5145567945'),
    'diskstats': lines(
        '   1       0 ram0 0 0 0 0 0 0 0 0 0 0 0', '   7       1 loop1 1 2 3 4 5 6 7 8 9 10 11', '   8       0 sda 25354637 34367663 1003346126 18492372 28444756 11134226 505697032 63877960 0 9653880 82621804',
        '   8       1 sda1 250 0 2000 36 0 0 0 0 0 36 36', ' 252       0 dm-0 59910002 0 1003337218 46229572 39231014 0 505697032 1158557800 0 11325968 1206301256',
        ' 254       0 vda 1775784 15386 32670882 8655768 6038856 20711856 213637440 2069221364 0 41614592 2077872228 1 2 3 4',
        ' 259       0 nvme0n1 47114 4 4643973 21650 1078320 43950 39451633 1011053 0 222766 1032546 68851 0 1925173784 11130 1555 1944',
        ' 259       1 nvme0n1p1 1140 0 9370 16 1 0 1 0 0 16 16', ' 179       8 mmcblk0boot1 8 0 64 16 0 0 0 0 0 16 16'),
    'mdstat': lines(
        'Personalities : [linear] [multipath] [raid0] [raid1] [raid6] [raid5] [raid4] [raid10]', '',
        'md3 : active raid6 sda1[8] sdh1[7] sdg1[6] sdf1[5] sde1[11] sdd1[3] sdc1[10] sdb1[9] sdd1[10](S) sdd2[11](S)',
        '      5853468288 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/8] [UUUUUUUU]', '',
        'md127 : active raid1 sdi2[0] sdj2[1](F)', '      312319552 blocks [2/1] [U_]', '',
        'md0 : active raid1 sdk[2](S) sdi1[0] sdj1[1]', '      248896 blocks [2/2] [UU]', '      [=>...................]  resync = 12.6% (31361/248896) finish=0.1min speed=2612K/sec', '',
        'md4 : inactive raid1 sda3[0](F) sdb3[1](S)', '      4883648 blocks [2/2] [UU]', '',
        'md6 : active raid1 sdb2[2](F) sdc[1](S) sda2[0]', '      195310144 blocks [2/1] [U_]',
        '      [=>...................]  recovery =  8.5% (16775552/195310144) finish=17.0min speed=259783K/sec', '',
        'md8 : active raid1 sdb1[1] sda1[0] sdc[2](S) sde[3](S)', '      195310144 blocks [2/2] [UU]', '      \tresync=DELAYED', '',
        'md9 : active raid1 sdc2[2] sdd2[3] sdb2[1] sda2[0] sde[4](F) sdf[5](F) sdg[6](S)', '      523968 blocks super 1.2 [4/4] [UUUU]',
        '      [===================>.]  check = 95.5% (500000/523968) finish=0.0min speed=1K/sec', '      bitmap: 0/30 pages [0KB], 65536KB chunk', '',
        'md12 : active raid0 sdc2[0] sdd2[1]', '      3886394368 blocks super 1.2 512k chunks', '',
        'unused devices: <none>'),
    'net/dev': lines(
        'Inter-|   Receive                                                |  Transmit',
        ' face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed',
        '    lo: 435303245 1832522    1    2    3     4          5         6 435303245 1832522    7    8    9     10       11          12',
        'veth4B09XN:648 8 0 0 0 0 0 0 1943284 10640 0 0 0 0 0 0'),
    'net/arp': lines('IP address       HW type     Flags       HW address            Mask     Device',
                     '192.168.1.1      0x1         0x2         cc:aa:dd:ee:aa:bb     *        eth0',
                     '192.168.1.2      0x1         0x0         00:00:00:00:00:00     *        eth0',
                     '10.0.0.1         0x1         0x2         bb:cc:dd:ee:ff:aa     *        eth1'),
    'net/netstat': lines('TcpExt: SyncookiesSent SyncookiesRecv SyncookiesFailed ListenOverflows ListenDrops TCPTimeouts TCPSynRetrans TCPLoss',
                         'TcpExt: 1 2 3 4 5 6 7 8', 'IpExt: InNoRoutes InOctets OutOctets', 'IpExt: 0 6286396970 2786264347'),
    'net/snmp': lines('Ip: Forwarding DefaultTTL InReceives', 'Ip: 1 64 57740232', 'Icmp: InMsgs InErrors InCsumErrors OutMsgs', 'Icmp: 104 1 0 120',
                      'Tcp: RtoAlgorithm MaxConn ActiveOpens PassiveOpens CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts',
                      'Tcp: 1 -1 3556 230 0 57252008 54915039 227 5 1003',
                      'Udp: InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors', 'Udp: 88542 120 0 53028 9 8 0',
                      'UdpLite: InDatagrams NoPorts InErrors', 'UdpLite: 0 0 0'),
    'net/snmp6': lines('Ip6InReceives                   \t7', 'Ip6InOctets                     \t460', 'Ip6OutOctets                    \t536',
                       'Icmp6InMsgs                     \t0', 'Icmp6InErrors                   \t0', 'Icmp6OutMsgs                    \t8',
                       'Udp6InDatagrams                 \t0', 'Udp6RcvbufErrors                \t9', 'UdpLite6InErrors                \t0'),
    'net/sockstat': lines('sockets: used 229', 'TCP: inuse 4 orphan 0 tw 4 alloc 17 mem 1', 'UDP: inuse 0 mem 0', 'UDPLITE: inuse 0', 'RAW: inuse 0', 'FRAG: inuse 0 memory 0'),
    'net/sockstat6': lines('TCP6: inuse 17', 'UDP6: inuse 9', 'UDPLITE6: inuse 0', 'RAW6: inuse 1', 'FRAG6: inuse 0 memory 0'),
    'net/softnet_stat': lines('00015c73 00020e76 f0000769 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000', '01663fb2 00000000 0000091c 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000'),
    'net/udp': lines('  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops',
                     '    0: 00000000:0016 00000000:0000 0A 00000015:00000002 00:00000000 00000000     0        0 2740 1 00000000 0',
                     '    1: 00000000:0017 00000000:0000 0A 00000001:00000010 00:00000000 00000000     0        0 2741 1 00000000 0'),
    'net/udp6': lines('  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops',
                      ' 1315: 00000000000000000000000000000000:14EB 00000000000000000000000000000000:0000 07 00000001:00000005 00:00000000 00000000   981        0 21040 2 0000000013726323 0'),
    'net/stat/nf_conntrack': lines(
        'entries  searched found new invalid ignore delete delete_list insert insert_failed drop early_drop icmp_error  expect_new expect_create expect_delete search_restart',
        '00000021 00000000 00000000 00000000 00000003 0000588a 00000000 00000000 00000001 00000000 00000000 00000000 00000000  00000000 00000000 00000000 00000002',
        '00000021 00000000 00000001 00000000 00000002 000056a4 00000000 00000000 00000000 00000004 00000005 00000006 00000000  00000000 00000000 00000000 00000004'),
    'sys/net/netfilter/nf_conntrack_count': '123\n', 'sys/net/netfilter/nf_conntrack_max': '65536\n',
    'sys/fs/file-nr': '1024\t0\t1631329\n',
    'sys/kernel/random/entropy_avail': '1337\n', 'sys/kernel/random/poolsize': '4096\n',
    'sys/kernel/threads-max': '7801\n', 'sys/kernel/pid_max': '123\n',
    '1/mounts': lines(
        'rootfs / rootfs rw 0 0', 'sysfs /sys sysfs rw,nosuid,nodev,noexec,relatime 0 0', 'proc /proc proc rw 0 0',
        'udev /dev devtmpfs rw 0 0', 'tmpfs /run tmpfs rw,nosuid,noexec,relatime,size=808108k,mode=755 0 0',
        '/dev/sda1 /boot ext4 ro,relatime 0 0', '/dev/sdb1 /mnt/with\\040space\\011and\\134more xfs rw 0 0', '/dev/sdb1 /mnt/with\\040space\\011and\\134more xfs rw 0 0',
        'tmpfs /run/credentials/a tmpfs ro 0 0', 'overlay /var/lib/docker/overlay2/x/merged overlay rw 0 0', '/dev/sdc1 /gone ext4 rw 0 0',
        '10.0.0.1:/export /net nfs4 rw 0 0', 'cgroup2 /sys/fs/cgroup cgroup2 rw 0 0', '/dev/sdd1 /development ext4 rw 0 0'),
    # The name of a process may be anything.
    '1/stat': '1 (systemd) S 0 1 1 0 -1 4194560 9061 9416027 94 2620 61 100 13 22 20 0 3 0 17 4 9437184 230 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 5 0 0\n',
    '17/stat': '17 (a) R 9 (b) D 0 17 17 0 -1 4194560 9061 9416027 94 2620 61 100 13 22 20 0 4 0 17 4 9437184 230 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 5 0 0\n',
    '18/stat': '18 (sleeper) S 0 18 18 0 -1 4194560 9061 9416027 94 2620 61 100 13 22 20 0 1 0 17 4 9437184 230 18446744073709551615 1 1 0 0 0 0 0 4096 0 0 0 0 17 1 0 0 5 0 0\n',
    'self/mountinfo': '', '1/mountinfo': '',
}

CPU = {
    'devices/system/cpu/isolated': '1,3-5,9\n',
    'devices/system/cpu/cpu0/topology/physical_package_id': '0\n', 'devices/system/cpu/cpu0/topology/core_id': '0\n',
    'devices/system/cpu/cpu0/thermal_throttle/core_throttle_count': '5\n', 'devices/system/cpu/cpu0/thermal_throttle/package_throttle_count': '30\n',
    'devices/system/cpu/cpu1/topology/physical_package_id': '0\n', 'devices/system/cpu/cpu1/topology/core_id': '0\n',
    'devices/system/cpu/cpu1/thermal_throttle/core_throttle_count': '5\n', 'devices/system/cpu/cpu1/thermal_throttle/package_throttle_count': '30\n',
    'devices/system/cpu/cpu2/topology/physical_package_id': '1\n', 'devices/system/cpu/cpu2/topology/core_id': '1\n',
    'devices/system/cpu/cpu2/thermal_throttle/core_throttle_count': '9\n', 'devices/system/cpu/cpu2/thermal_throttle/package_throttle_count': '6\n',
    'devices/system/cpu/cpu0/cpufreq/scaling_cur_freq': '1699981\n', 'devices/system/cpu/cpu0/cpufreq/scaling_max_freq': '3700000\n',
    'devices/system/cpu/cpu0/cpufreq/scaling_min_freq': '800000\n', 'devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq': '3700000\n',
    'devices/system/cpu/cpu0/cpufreq/cpuinfo_min_freq': '800000\n', 'devices/system/cpu/cpu0/cpufreq/scaling_governor': 'powersave\n',
    'devices/system/cpu/cpu0/cpufreq/scaling_available_governors': 'performance powersave\n', 'devices/system/cpu/cpu0/cpufreq/cpuinfo_cur_freq': '1200195\n',
    'devices/system/cpu/cpu0/cpufreq/affected_cpus': '0\n', 'devices/system/cpu/cpu0/cpufreq/related_cpus': '0\n',
    'devices/system/cpu/cpu0/cpufreq/scaling_driver': 'intel_pstate\n', 'devices/system/cpu/cpu0/cpufreq/scaling_setspeed': '<unsupported>\n',
    'devices/system/cpu/cpu0/cpufreq/cpuinfo_transition_latency': '0\n',
    'devices/system/clocksource/clocksource0/available_clocksource': 'tsc hpet acpi_pm \n', 'devices/system/clocksource/clocksource0/current_clocksource': 'tsc\n',
}


def device(**attributes):
    defaults = {'addr_assign_type': '3', 'address': '01:01:01:01:01:01', 'broadcast': 'ff:ff:ff:ff:ff:ff', 'carrier': '1', 'carrier_changes': '2',
                'carrier_down_count': '1', 'carrier_up_count': '1', 'dev_id': '0x20', 'dormant': '1', 'duplex': 'full', 'flags': '0x1303', 'ifalias': '',
                'ifindex': '2', 'iflink': '2', 'link_mode': '1', 'mtu': '1500', 'name_assign_type': '2', 'netdev_group': '0', 'operstate': 'up',
                'speed': '1000', 'tx_queue_len': '1000', 'type': '1'}
    return {**defaults, **attributes}


NET = {
    **{f'class/net/eth0/{name}': value + '\n' for name, value in device().items()},
    **{f'class/net/bond0/{name}': value + '\n' for name, value in device(speed='-1', operstate='down', ifalias='say "hi" \\ back', ifindex='3').items()},
    'class/net/bonding_masters': 'bond0 dmz\n',
    'class/net/bond0/bonding/slaves': 'eth0 eth4\n', 'class/net/dmz/bonding/slaves': '\n', 'class/net/dmz/type': '1\n',
    'class/net/bond0/lower_eth0/bonding_slave/mii_status': 'up\n', 'class/net/bond0/slave_eth4/bonding_slave/mii_status': 'down\n',
}

HWMON = {
    'devices/platform/coretemp.0/hwmon/hwmon0/name': 'coretemp\n',
    'devices/platform/coretemp.0/hwmon/hwmon0/temp1_input': '55000\n', 'devices/platform/coretemp.0/hwmon/hwmon0/temp1_label': 'Physical id 0\n',
    'devices/platform/coretemp.0/hwmon/hwmon0/temp1_crit': '100000\n', 'devices/platform/coretemp.0/hwmon/hwmon0/temp1_crit_alarm': '0\n',
    'devices/platform/coretemp.0/hwmon/hwmon0/temp2_input': '-1500\n', 'devices/platform/coretemp.0/hwmon/hwmon0/temp2_type': '4\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/name': 'nct6779\n', 'devices/platform/nct6775.656/hwmon/hwmon1/beep_enable': '1\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/update_interval': '200\n', 'devices/platform/nct6775.656/hwmon/hwmon1/vrm': '90\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/in0_input': '792\n', 'devices/platform/nct6775.656/hwmon/hwmon1/in0_alarm': '1\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/in0_beep': '0\n', 'devices/platform/nct6775.656/hwmon/hwmon1/in0_max': '1744\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/cpu0_vid': '1250\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/fan2_input': '1098\n', 'devices/platform/nct6775.656/hwmon/hwmon1/fan2_min': '0\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/fan2_pulses': '2\n', 'devices/platform/nct6775.656/hwmon/hwmon1/fan2_tolerance': '0\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/fan2_target': '27000\n', 'devices/platform/nct6775.656/hwmon/hwmon1/intrusion0_alarm': '1\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/intrusion0_beep': '0\n', 'devices/platform/nct6775.656/hwmon/hwmon1/pwm1': '31\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/pwm1_auto_point1_pwm': '153\n', 'devices/platform/nct6775.656/hwmon/hwmon1/pwm1_enable': '5\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/temp1_fault': '1\n', 'devices/platform/nct6775.656/hwmon/hwmon1/temp1_input': 'nonsense\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/power1_average': '2000000\n', 'devices/platform/nct6775.656/hwmon/hwmon1/power1_average_interval': '1000\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/power1_accuracy': '990000\n', 'devices/platform/nct6775.656/hwmon/hwmon1/energy1_input': '5000000\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/humidity1_input': '40000\n', 'devices/platform/nct6775.656/hwmon/hwmon1/curr1_input': '1500\n',
    'devices/platform/nct6775.656/hwmon/hwmon1/curr1_max': '9000\n',
    # An older driver: its sensors are at the device.
    'devices/platform/applesmc.768/hwmon/hwmon2/uevent': '', 'devices/platform/applesmc.768/fan1_input': '2026\n',
    'devices/platform/applesmc.768/fan1_label': 'Left side  \n', 'devices/platform/applesmc.768/temp3_input': '33000\n',
    'devices/virtual/hwmon/hwmon3/name': 'acpitz\n', 'devices/virtual/hwmon/hwmon3/temp1_input': '20000\n',
    'devices/virtual/hwmon/hwmon4/temp1_input': '21000\n',
}
LINKS = {
    **{f'class/hwmon/hwmon{i}': f'../../devices/{place}/hwmon/hwmon{i}' for i, place in enumerate(
        ('platform/coretemp.0', 'platform/nct6775.656', 'platform/applesmc.768', 'virtual', 'virtual'))},
    **{f'devices/platform/{place}/hwmon/hwmon{i}/device': '../..' for i, place in enumerate(('coretemp.0', 'nct6775.656', 'applesmc.768'))},
}

SENSORS = {
    'class/thermal/thermal_zone0/type': 'bcm2835_thermal\n', 'class/thermal/thermal_zone0/temp': '49925\n', 'class/thermal/thermal_zone0/policy': 'step_wise\n',
    'class/thermal/thermal_zone0/mode': 'enabled\n', 'class/thermal/thermal_zone12/type': 'acpitz\n', 'class/thermal/thermal_zone12/temp': '-44000\n',
    'class/thermal/thermal_zone12/policy': 'step_wise\n',
    'class/thermal/cooling_device0/type': 'Processor\n', 'class/thermal/cooling_device0/cur_state': '1\n', 'class/thermal/cooling_device0/max_state': '50\n',
    'class/power_supply/BAT0/type': 'Battery\n', 'class/power_supply/BAT0/capacity': '81\n', 'class/power_supply/BAT0/capacity_level': 'Normal\n',
    'class/power_supply/BAT0/cycle_count': '0\n', 'class/power_supply/BAT0/energy_full': '45070000\n', 'class/power_supply/BAT0/energy_full_design': '47520000\n',
    'class/power_supply/BAT0/energy_now': '36580000\n', 'class/power_supply/BAT0/manufacturer': 'LGC\n', 'class/power_supply/BAT0/model_name': 'LNV-45N1\n',
    'class/power_supply/BAT0/power_now': '5002000\n', 'class/power_supply/BAT0/present': '1\n', 'class/power_supply/BAT0/serial_number': '38109\n',
    'class/power_supply/BAT0/status': 'Discharging\n', 'class/power_supply/BAT0/technology': 'Li-ion\n', 'class/power_supply/BAT0/voltage_now': '11750000\n',
    'class/power_supply/BAT0/voltage_min_design': '10800000\n', 'class/power_supply/BAT0/temp': '312\n', 'class/power_supply/BAT0/time_to_empty_now': '7200\n',
    'class/power_supply/AC/type': 'Mains\n', 'class/power_supply/AC/online': '0\n', 'class/power_supply/AC/scope': '\n',
    'class/powercap/intel-rapl/enabled': '1\n', 'class/powercap/intel-rapl:0/name': 'package-0\n', 'class/powercap/intel-rapl:0/energy_uj': '240422366267\n',
    'class/powercap/intel-rapl:0/max_energy_range_uj': '262143328850\n', 'class/powercap/intel-rapl:0:0/name': 'core\n',
    'class/powercap/intel-rapl:0:0/energy_uj': '118821284256\n', 'class/powercap/intel-rapl:0:0/max_energy_range_uj': '262143328850\n',
    'class/powercap/intel-rapl:1/name': 'package-1\n', 'class/powercap/intel-rapl:1/energy_uj': '1000000\n', 'class/powercap/intel-rapl:1/max_energy_range_uj': '262143328850\n',
    'class/powercap/intel-rapl:1:0/name': 'core\n', 'class/powercap/intel-rapl:1:0/energy_uj': '2000000\n', 'class/powercap/intel-rapl:1:0/max_energy_range_uj': '2\n',
    'devices/system/edac/mc/mc0/ce_count': '1\n', 'devices/system/edac/mc/mc0/ce_noinfo_count': '2\n', 'devices/system/edac/mc/mc0/ue_count': '5\n',
    'devices/system/edac/mc/mc0/ue_noinfo_count': '6\n', 'devices/system/edac/mc/mc0/csrow0/ce_count': '3\n', 'devices/system/edac/mc/mc0/csrow0/ue_count': '4\n',
    'class/nvme/nvme0/firmware_rev': '1B2QEXP7\n', 'class/nvme/nvme0/model': 'Samsung SSD 970 PRO 512GB               \n', 'class/nvme/nvme0/serial': 'S680HF8N190894I     \n',
    'class/nvme/nvme0/state': 'live\n', 'class/nvme/nvme0/cntlid': '1997\n',
    'class/dmi/id/bios_date': '04/12/2021\n', 'class/dmi/id/bios_vendor': 'Dell Inc.\n', 'class/dmi/id/bios_version': '2.2.4\n', 'class/dmi/id/product_name': 'PowerEdge R6515\n',
    'class/dmi/id/product_sku': 'SKU=NotProvided;ModelName=PowerEdge R6515\n', 'class/dmi/id/sys_vendor': 'Dell Inc.\n', 'class/dmi/id/board_serial': '.7N62AI2.GRTCL6944100GP.\n',
    'class/dmi/id/chassis_asset_tag': '\n', 'class/dmi/id/product_uuid': '83340ca8-cb49-4474-8c29-d2088ca84dd9\n', 'class/dmi/id/modalias': 'dmi:bvnDell\n',
    'class/dmi/id/chassis_type': '23\n',
}

ROOT = {
    'etc/os-release': lines('# a comment', 'NAME="Ubuntu"', 'VERSION="20.04.2 LTS (Focal \\"Fossa\\")"', 'ID=ubuntu', "ID_LIKE='debian like'", '', 'PRETTY_NAME="Ubuntu 20.04.2 LTS"',
                            'VERSION_ID="20.04.2"', 'HOME_URL="https://www.ubuntu.com/"', 'VERSION_CODENAME=focal'),
    'run/udev/data/b8:0': lines('S:disk/by-id/x', 'E:ID_ATA=1', 'E:ID_ATA_ROTATION_RATE_RPM=7200', 'E:ID_ATA_WRITE_CACHE=1', 'E:ID_ATA_WRITE_CACHE_ENABLED=0', 'E:ID_MODEL=TOSHIBA_KSDB4U86',
                                'E:ID_PATH=pci-0000:3b:00.0-sas-phy7-lun-0', 'E:ID_REVISION=0102', 'E:ID_SERIAL=long', 'E:ID_SERIAL_SHORT=2160A0D5FVGG', 'E:ID_WWN=0x7c72382b8de36a64', 'G:systemd'),
    'run/udev/data/b252:0': lines('E:DM_LV_LAYER=', 'E:DM_LV_NAME=nvme0n1', 'E:DM_NAME=nvme0n1_crypt', 'E:DM_UUID=CRYPT-LUKS2-jolaulot80fy9zsiobkxyxo7y2dqeho2', 'E:DM_VG_NAME=vg',
                                  'E:ID_FS_TYPE=LVM2_member', 'E:ID_FS_USAGE=raid', 'E:ID_FS_UUID=c3C3uW', 'E:ID_FS_VERSION=LVM2 001'),
    'run/udev/data/b259:0': lines('E:ID_SERIAL=SAMSUNG_a', 'E:SCSI_IDENT_SERIAL=ident', 'E:ID_MODEL=S=M'),
    'boot/file': '', 'mnt/with space\tand\\134more/file': '', 'run/file': '', 'net/file': '', 'development/file': '',
}

TEXTFILES = {
    'a.prom': lines('# HELP backup_seconds How long \\\\ it took.', '# TYPE backup_seconds histogram', 'backup_seconds_bucket{le="0.5"} 1', 'backup_seconds_bucket{le="+Inf"} 3',
                    'backup_seconds_sum 4.5', 'backup_seconds_count 3', '# TYPE queue_seconds summary', 'queue_seconds{quantile="0.5",q="a"} 7', 'queue_seconds_sum{q="a"} 9',
                    'queue_seconds_count{q="a"} 2', '', 'plain_value 1e-3', '# TYPE things_total counter', 'things_total{path="C:\\\\x",say="\\"hi\\""} 5'),
    'b.prom': lines('# TYPE shared gauge', 'shared{from="b"} -Inf'),
    'c.prom': lines('# TYPE shared gauge', 'shared{from="c"} 2'),
    'broken.prom': lines('fine 1', 'not fine'), 'timed.prom': lines('timed 1 1395066363000'), 'other.txt': lines('ignored 1'),
}


def build(directory):
    """Below `directory`: proc, sys, root, textfiles."""
    for tree, files in (('proc', PROC), ('sys', {**CPU, **NET, **HWMON, **SENSORS}), ('root', ROOT), ('textfiles', TEXTFILES)):
        for path, text in files.items():
            place = directory / tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
    with open(directory / 'proc' / '1' / 'mounts', 'a') as mounts:  # seen from a container
        mounts.write(f'/dev/sde1 {directory}/root/other ext4 rw 0 0\n')
    (directory / 'root' / 'other').mkdir()
    for path, target in LINKS.items():
        place = directory / 'sys' / path
        place.parent.mkdir(parents=True, exist_ok=True)
        os.symlink(target, place)
