# The commands of every day. The build itself is Meson's (meson.build); this brings what it needs and calls it.

export PATH := $(CURDIR)/build/deps/node/bin:$(PATH)
MAKEFLAGS += --no-print-directory
ARGS ?=

.PHONY: all demo run test bench bench-alerts bench-pages bench-rules bench-scrape bench-tsdb lint setup torture clients fuzz clean help

all: ## build/apiary (the default)
	@tools/setup build
	@tools/configure build
	@ninja -C build apiary

demo: all ## a simulated fleet, 90 days of it, and its live page (ARGS="--seed 7 --listen 127.0.0.1:8080")
	@tools/setup demo
	@build/apiary demo $(ARGS)

run: all ## the server, its data in build/data (ARGS="--open --listen 127.0.0.1:8080")
	@build/apiary serve --data build/data --pack packs/hive $(ARGS)

test: ## every test; the last line is the sum (SUITES="unit browser" for some of them; FUZZ_SECONDS=10)
	@tools/setup test
	@tools/run-tests $(SUITES)

bench: ## the promised speeds, measured
	@tools/setup test
	@tools/configure build
	@ninja -C build apiary bench-programs
	@bench/run $(ARGS)

bench-alerts: ## alerting beside Debian's prometheus-alertmanager (ARGS=--quick)
	@tools/setup bench
	@tools/configure build
	@ninja -C build apiary
	@bench/alerts $(ARGS)

bench-pages: ## what open pages of alerting cost a browser, with 10,000 alerts and 1,000 rules (ARGS="--seconds 20")
	@tools/setup test
	@tools/configure build
	@ninja -C build apiary
	@node bench/pages.mjs $(ARGS)

bench-scrape: ## scraping beside Debian's prometheus and vmagent (ARGS=--quick)
	@tools/setup bench
	@tools/configure build
	@ninja -C build apiary bench-programs
	@bench/scrape $(ARGS)

bench-rules: ## evaluating 10,000 rules over a million series beside Debian's prometheus (ARGS=--quick)
	@tools/setup bench
	@tools/configure build
	@ninja -C build apiary bench-programs
	@bench/rules $(ARGS)

bench-tsdb: ## the time-series store beside Debian's prometheus and victoria-metrics (ARGS=--quick)
	@tools/setup bench
	@tools/configure build
	@ninja -C build apiary bench-programs
	@bench/tsdb $(ARGS)

lint: ## clang-format, folder order, cppcheck, clang-tidy, shellcheck, eslint, prettier, tsc
	@tools/setup test
	@tools/lint

setup: ## what all of the above need: Debian packages, DuckDB, npm packages
	@tools/setup test

torture: ## the fault tests with 1,000 rounds of kill -9 (APIARY_KILL_ROUNDS), a million queries beside Prometheus (DIFFERENTIAL_QUERIES)
	@tools/setup bench
	@tools/run-tests torture

clients: ## real agents write into Apiary while it is killed and restarted (AGENT_SECONDS=600: the whole of it)
	@tools/setup bench
	@tools/run-tests clients

fuzz: ## every fuzz target for ten minutes (FUZZ_SECONDS=600)
	@tools/setup test
	@FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) tools/run-tests fuzz

clean: ## everything built, but not what setup fetched
	@if [ -d build ]; then find build -mindepth 1 -maxdepth 1 ! -name deps ! -name data -exec rm -rf {} +; fi
	@rm -rf web/dist

help: ## this text
	@sed -n 's/^\([a-z-]*\):[^#]*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18
