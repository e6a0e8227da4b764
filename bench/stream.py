#!/usr/bin/env python3
"""Measure streaming from a bucket against MosaicML Streaming, WebDataset and gcsfs: same machine, same emulator,
same line.

    python bench/stream.py [--bench BENCH_STREAM] [--attune ATTUNE] [--repeats N] [--work DIR] ...

The bucket is fake-gcs-server behind tests/tools/fault_proxy.c, which gives each connection 25 MB/s and each request
a delay of 50 ms (twice that for the first on a connection).  The set is made once and kept in --work: FLAC clips of
noise at 16 kHz, log-normal lengths, once as tar shards (with and without attune's .idx files), once as MDS shards of
the same size, once as loose clips with a JSONL.  Everybody shuffles, reads over 8 connections, begins with empty
caches, and must hand out every clip once, or the comparison is void (exit code 1).

"raw" hands out each record's text and its undecoded clip, "decoded" its samples as float32: libsndfile in eight
processes for the peers, FFmpeg in two threads for attune.  "first batch" is the time to 16 raw samples from when the data
set object is begun, imports already done; for attune to the first 16 as a padded batch of mel features and tokens, from
the start of the program.  "resume" is the same with the place in the data at 90 % of an epoch (attune: at the window
where that lies): MosaicML by its state_dict, gcsfs by taking the rest of the shuffled list, WebDataset, which
cannot, by reading on to there.  attune checks every byte against the bucket's CRC-32C, MosaicML
by google-cloud-storage; the others check nothing.

Needs torch, mosaicml-streaming, webdataset, gcsfs, google-cloud-storage, soundfile and numpy.
"""
import argparse
import glob
import http.client
import io
import json
import os
import random
import shutil
import socket
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.parse

BATCH, WORKERS, RATE, RTT_MS, LINE = 16, 8, 16000, 50, 25e6
BUCKET, LARGE, TIMES = "bench", 16, 20


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    p.add_argument("--bench", default="build/release/bench/bench_stream")
    p.add_argument("--attune", default="./attune")
    p.add_argument("--proxy", default="build/release/tools/fault_proxy")
    p.add_argument("--fake", default=".deps/bin/fake-gcs-server")
    p.add_argument("--model", default="demo/model")
    p.add_argument("--work", default="build/bench-stream")
    p.add_argument("--clips", type=int, default=2000)
    p.add_argument("--shards", type=int, default=32)
    p.add_argument("--repeats", type=int, default=3)
    p.add_argument("--peers", default="mds,wds-curl,wds-gcsfs,gcsfs")
    p.add_argument("--peer", help=argparse.SUPPRESS)
    return p.parse_args()


# --------------------------------------------------------------------- data --

def make_clips(count):
    """(key, record, FLAC) of each; sound is noise with a spectrum like speech, so that FLAC halves it."""
    import numpy as np
    import soundfile
    draw = np.random.default_rng(1)
    lengths = np.clip(draw.lognormal(np.log(10) - 0.18, 0.6, count), 1, 30)
    noise = draw.standard_normal(40 * RATE)
    for _ in range(2):
        noise = np.convolve(noise, np.ones(6) / 6, "same")
    noise *= 0.2 / noise.std()
    for i, seconds in enumerate(lengths):
        n = int(seconds * RATE)
        at = int(draw.integers(0, len(noise) - n))
        sound = noise[at:at + n] * (0.55 + 0.45 * np.sin(np.arange(n) * (2 * np.pi * 3 / RATE)))
        out = io.BytesIO()
        soundfile.write(out, sound, RATE, format="FLAC", subtype="PCM_16")
        key = "clip-%06d" % i
        yield key, {"id": key, "text": "good morning anna", "duration": round(float(seconds), 3)}, out.getvalue()


def write_sets(a, folder):
    from streaming import MDSWriter
    per_shard = (a.clips + a.shards - 1) // a.shards
    for name in ("tar", "clips"):
        os.makedirs(os.path.join(folder, name))
    shard, total, lines = None, 0, []
    clips = list(make_clips(a.clips))
    total = sum(len(flac) for _, _, flac in clips)
    writer = MDSWriter(out=os.path.join(folder, "mds"), columns={"text": "str", "audio": "bytes"},
                       size_limit=total // a.shards)
    for i, (key, record, flac) in enumerate(clips):
        if i % per_shard == 0:
            if shard:
                shard.close()
            shard = tarfile.open(os.path.join(folder, "tar", "part-%06d.tar" % (i // per_shard)), "w",
                                 format=tarfile.USTAR_FORMAT)
        for name, data in ((key + ".json", json.dumps(record).encode()), (key + ".flac", flac)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            shard.addfile(info, io.BytesIO(data))
        with open(os.path.join(folder, "clips", key + ".flac"), "wb") as f:
            f.write(flac)
        lines.append(json.dumps(dict(record, audio="clips/%s.flac" % key)) + "\n")
        writer.write({"text": record["text"], "audio": flac})
    shard.close()
    writer.finish()
    with open(os.path.join(folder, "list.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(lines)
    json.dump({"clips": a.clips, "bytes": total, "seconds": sum(r["duration"] for _, r, _ in clips)},
              open(os.path.join(folder, "facts.json"), "w", encoding="utf-8"))


def request(port, method, path, body=None, headers=None):
    c = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    c.request(method, path, body, headers or {})
    r = c.getresponse()
    data = r.read()
    if r.status >= 300:
        sys.exit("%s %s: %d %r" % (method, path, r.status, data[:200]))
    return data


def upload(folder, port):
    request(port, "POST", "/storage/v1/b", json.dumps({"name": BUCKET}), {"Content-Type": "application/json"})
    for path in sorted(glob.glob(folder + "/**", recursive=True)):
        if os.path.isdir(path):
            continue
        name = os.path.relpath(path, folder)
        for target in (name, "indexed/" + name) if name.startswith("tar/") else (name,):
            request(port, "POST", "/upload/storage/v1/b/%s/o?uploadType=media&name=%s" %
                    (BUCKET, urllib.parse.quote(target, safe="")), open(path, "rb").read(),
                    {"Content-Type": "application/octet-stream"})


def make_links(port, root):
    """LARGE objects of 128 MiB: one, and links to it; and the set with its indexes TIMES times over."""
    request(port, "POST", "/upload/storage/v1/b/%s/o?uploadType=media&name=large%%2F00.tar" % BUCKET,
            os.urandom(128 << 20), {"Content-Type": "application/octet-stream"})
    for i in range(1, LARGE):
        os.link(os.path.join(root, BUCKET, "large", "00.tar"), os.path.join(root, BUCKET, "large", "%02d.tar" % i))
    names = sorted(glob.glob(os.path.join(root, BUCKET, "indexed", "tar", "*")))
    os.makedirs(os.path.join(root, BUCKET, "many", "tar"))
    for i in range(TIMES):
        for name in names:
            number, ending = os.path.basename(name)[5:].split(".", 1)
            number = int(number) + i * sum(n.endswith(".tar") for n in names)
            os.link(name, os.path.join(root, BUCKET, "many", "tar", "part-%06d.%s" % (number, ending)))


class Bucket:
    """The emulator and the proxy, for as long as the block runs."""

    def __init__(self, a):
        self.a, self.running = a, []

    def __enter__(self):
        a, root = self.a, os.path.join(self.a.work, "bucket")
        folder = os.path.join(a.work, "set-%d-%d" % (a.clips, a.shards))
        is_new = not os.path.exists(os.path.join(folder, "uploaded"))
        if is_new:
            for path in (root, folder):
                shutil.rmtree(path, ignore_errors=True)
            print("making the set (once)", file=sys.stderr)
            write_sets(a, folder)
        os.makedirs(root, exist_ok=True)
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        self.start([a.fake, "-scheme", "http", "-host", "127.0.0.1", "-port", str(self.port), "-backend",
                    "filesystem", "-filesystem-root", root, "-log-level", "error"])
        for _ in range(200):
            try:
                request(self.port, "GET", "/storage/v1/b")
                break
            except OSError:
                time.sleep(0.05)
        p = self.start([a.proxy, "--origin", "127.0.0.1:%d" % self.port], stdout=subprocess.PIPE, text=True)
        self.proxy_port = int(p.stdout.readline())
        self.url = "http://127.0.0.1:%d" % self.proxy_port
        os.environ["STORAGE_EMULATOR_HOST"] = self.url
        if is_new:
            upload(folder, self.port)
            subprocess.run([a.attune, "data", "index", "gs://%s/indexed/tar/*.tar" % BUCKET], check=True,
                           stdout=subprocess.DEVNULL)
            make_links(self.port, root)
            open(os.path.join(folder, "uploaded"), "w", encoding="utf-8").close()
        self.facts = json.load(open(os.path.join(folder, "facts.json"), encoding="utf-8"))
        self.line(RTT_MS, LINE)
        return self

    def start(self, command, **more):
        p = subprocess.Popen(command, **more)
        self.running.append(p)
        return p

    def line(self, rtt_ms, bytes_per_s):
        request(self.proxy_port, "POST", "/__proxy/script",
                json.dumps({"rtt_ms": rtt_ms, "bytes_per_s": bytes_per_s}))

    def __exit__(self, *_):
        for p in self.running:
            p.kill()
            p.wait()


# -------------------------------------------------------------------- peers --

def decode(audio):
    import soundfile
    import torch
    return torch.from_numpy(soundfile.read(io.BytesIO(audio), dtype="float32")[0])


def size_of(samples):
    return sum(len(s) if isinstance(s, bytes) else 0 for s in samples)


def go_through(make, count):
    """Time from the making of the loader to the first batch and to the end."""
    start, first, samples, size = time.monotonic(), None, 0, 0
    for batch in make():
        samples += len(batch)
        size += size_of(batch)
        if first is None and samples >= BATCH:
            first = time.monotonic() - start
        if samples >= count:
            break
    return {"first_s": first, "seconds": time.monotonic() - start, "samples": samples, "bytes": size}


def loader_of(dataset, **more):
    from torch.utils.data import DataLoader
    return DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS, collate_fn=list, prefetch_factor=4, **more)


def service_account(url, work):
    """Credentials as MosaicML wants them; the token comes from the proxy."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = os.path.join(work, "account.json")
    json.dump({"type": "service_account", "project_id": "p", "private_key_id": "k",
               "private_key": key.decode(), "client_email": "a@p.iam.gserviceaccount.com", "client_id": "1",
               "token_uri": url + "/__proxy/token"}, open(path, "w", encoding="utf-8"))
    os.environ["GOOGLE_APPLICATION_CREDENTIALS"] = path


def peer_mds(job, is_decoded, part):
    from streaming import StreamingDataset

    class Clips(StreamingDataset):
        def __getitem__(self, at):
            audio = super().__getitem__(at)["audio"]
            return decode(audio) if is_decoded else audio

    def make():
        data = Clips(remote="gs://%s/mds" % BUCKET, local=tempfile.mkdtemp(dir=job["work"]), shuffle=True,
                     shuffle_seed=1, batch_size=BATCH, num_canonical_nodes=1)
        if part:
            data.load_state_dict(data.state_dict(int(part * job["clips"]) // BATCH * BATCH, True))
        return loader_of(data)
    return make


def peer_wds(opener):
    def peer(job, is_decoded, part):
        import gcsfs
        import webdataset as wds
        names = [job["prefix"] + "tar/part-%06d.tar" % i for i in range(job["shards"])]
        if opener == "curl":
            urls = ["pipe:curl -s -f '%s/storage/v1/b/%s/o/%s?alt=media'" %
                    (job["url"], BUCKET, n.replace("/", "%2F")) for n in names]
        else:
            urls = ["gs://%s/%s" % (BUCKET, n) for n in names]

            def open_by_gcsfs(url, *_, **__):
                return gcsfs.GCSFileSystem(token="anon", endpoint_url=job["url"]).open(url, "rb")
            wds.gopen_schemes["gs"] = open_by_gcsfs

        def make():
            data = wds.WebDataset(urls, shardshuffle=len(urls), seed=1).shuffle(1000).map(
                lambda s: decode(s["flac"]) if is_decoded else s["flac"])
            loader = loader_of(data)
            if not part:
                return loader
            return later(loader, int(part * job["clips"]))

        def later(loader, count):
            for batch in loader:
                if count <= 0:
                    yield batch
                count -= len(batch)
        return make
    return peer


def peer_gcsfs(job, is_decoded, part):
    import fsspec.asyn
    import gcsfs

    class Clips:
        def __init__(self):
            self.fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=job["url"])
            lines = self.fs.cat_file("%s/list.jsonl" % BUCKET).splitlines()
            self.records = [json.loads(line) for line in lines]
            random.Random(1).shuffle(self.records)
            self.records = self.records[int(part * len(self.records)):]
            self.fs = None

        def __len__(self):
            return len(self.records)

        def __getitem__(self, at):
            if self.fs is None:            # one for each process, as fsspec asks for
                fsspec.asyn.reset_lock()
                fsspec.asyn.iothread[0] = fsspec.asyn.loop[0] = None
                self.fs = gcsfs.GCSFileSystem(token="anon", endpoint_url=job["url"], skip_instance_cache=True)
            audio = self.fs.cat_file("%s/%s" % (BUCKET, self.records[at]["audio"]))
            return decode(audio) if is_decoded else audio

    return lambda: loader_of(Clips())


PEERS = {"mds": peer_mds, "wds-curl": peer_wds("curl"), "wds-gcsfs": peer_wds("gcsfs"), "gcsfs": peer_gcsfs}
TITLES = {"mds": "MosaicML Streaming", "wds-curl": "WebDataset, `pipe:curl`", "wds-gcsfs": "WebDataset, gcsfs",
          "gcsfs": "gcsfs, a clip a read"}


def run_peer(job):
    import soundfile  # noqa: F401
    import torch  # noqa: F401
    service_account(job["url"], job["work"])
    peer = PEERS[job["name"]]
    if job["prefix"]:
        print(json.dumps({"resume": go_through(peer(job, False, 0.9), BATCH)}), flush=True)
        os._exit(0)
    out = {"raw": go_through(peer(job, False, 0), job["clips"]),
           "decode": go_through(peer(job, True, 0), job["clips"]),
           "resume": go_through(peer(job, False, 0.9), BATCH)}
    print(json.dumps(out), flush=True)
    os._exit(0)                            # loaders that were left in the middle end with the process


def ask_peer(a, bucket, name, prefix="", times=1):
    work = tempfile.mkdtemp(dir=a.work)
    job = {"name": name, "url": bucket.url, "work": work, "clips": a.clips * times, "shards": a.shards * times,
           "prefix": prefix}
    p = subprocess.run([sys.executable, os.path.abspath(__file__), "--peer", json.dumps(job)], check=True,
                       stdout=subprocess.PIPE, text=True)
    shutil.rmtree(work)
    return json.loads(p.stdout.splitlines()[-1])


# ------------------------------------------------------------------- attune --

def run_attune(a, mode, pattern, *more):
    cache = tempfile.mkdtemp(dir=a.work)
    out = subprocess.run([a.bench, mode, pattern, "cache=" + cache, *more], check=True, stdout=subprocess.PIPE,
                         text=True).stdout
    shutil.rmtree(cache)
    return json.loads(out)


def attune_all(a, folder):
    pattern = "gs://%s/%s/*.tar" % (BUCKET, folder)
    few = ("model=" + a.model, "samples=%d" % BATCH)
    out = {"raw": run_attune(a, "raw", pattern), "decode": run_attune(a, "decode", pattern),
           "resume": run_attune(a, "batches", pattern, "from=0.9", *few)}
    out["raw"]["first_s"] = run_attune(a, "batches", pattern, *few)["first_s"]
    return out


# ------------------------------------------------------------------- report --

def check(name, result, facts):
    for mode in ("raw", "decode"):
        if result[mode]["samples"] != facts["clips"]:
            sys.exit("the comparison is void: %s, %s: %d samples of %d" %
                     (name, mode, result[mode]["samples"], facts["clips"]))
    if result["raw"]["bytes"] != facts["bytes"]:
        sys.exit("the comparison is void: %s: %d bytes of %d" % (name, result["raw"]["bytes"], facts["bytes"]))


def median(results, mode, key):
    return statistics.median(r[mode][key] for r in results)


def rows_of(name, results, facts):
    raw_s = median(results, "raw", "seconds")
    return (name, facts["clips"] / raw_s, facts["bytes"] / raw_s / 1e6,
            facts["clips"] / median(results, "decode", "seconds"), median(results, "raw", "first_s"),
            median(results, "resume", "first_s"))


def report(a, facts, results):
    print("\n%d clips, %.1f h of sound, %.0f MB of FLAC in %d shards; %d ms, %.0f MB/s a connection; medians of %d; "
          "%d cores, load %.1f at the end\n" %
          (facts["clips"], facts["seconds"] / 3600, facts["bytes"] / 1e6, a.shards, RTT_MS, LINE / 1e6, a.repeats,
           os.cpu_count(), os.getloadavg()[0]))
    print("| | raw samples/s | MB/s | decoded samples/s | first batch | resume at 90 % |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = [rows_of(name, r, facts) for name, r in results.items()]
    for row in rows:
        print("| %s | %.0f | %.0f | %.0f | %.2f s | %.2f s |" % row)
    ours = [r for r in rows if r[0].startswith("attune")]
    theirs = [r for r in rows if not r[0].startswith("attune")]
    if ours and theirs:
        print("| attune against the best of the others | %.1f | | %.1f | %.1f | %.1f |" %
              (max(r[1] for r in ours) / max(r[1] for r in theirs),
               max(r[3] for r in ours) / max(r[3] for r in theirs),
               min(r[4] for r in theirs) / min(r[4] for r in ours),
               min(r[5] for r in theirs) / min(r[5] for r in ours)))


def report_many(a, bucket):
    """Resuming in a set TIMES as large, beside the one that has to read on."""
    theirs = ask_peer(a, bucket, "wds-curl", "many/", TIMES)["resume"]["first_s"]
    ours = [run_attune(a, "batches", "gs://%s/many/tar/*.tar" % BUCKET, "from=0.9", "model=" + a.model,
                       "samples=%d" % BATCH)["first_s"] for _ in range(a.repeats)]
    print("\nresume at 90 %% in a set %d times as large: %s %.2f s, attune, with indexes %.2f s, ratio %.0f" %
          (TIMES, TITLES["wds-curl"], theirs, statistics.median(ours), theirs / statistics.median(ours)))


def report_alone(a, bucket):
    """What only attune does: checked objects at full speed, and batches as training gets them."""
    pattern = "gs://%s/indexed/tar/*.tar" % BUCKET
    fetched = [run_attune(a, "fetch", "gs://%s/large/*.tar" % BUCKET) for _ in range(a.repeats)]
    print("\nfetching %d objects of 128 MiB, 8 connections: %.0f MB/s (range %.0f to %.0f)" %
          (LARGE, statistics.median(r["bytes"] / r["seconds"] / 1e6 for r in fetched),
           min(r["bytes"] / r["seconds"] / 1e6 for r in fetched),
           max(r["bytes"] / r["seconds"] / 1e6 for r in fetched)))
    full = run_attune(a, "batches", pattern, "model=" + a.model)
    print("batches (decoded, mel, tokens, padded): %.0f samples/s, %.0f x real time, first after %.2f s, padding "
          "%.1f %%" % (full["samples"] / full["seconds"], full["audio_s"] / full["seconds"], full["first_s"],
                       100 * full["padding"]))
    for pace, samples in (300, 800), (1000, 1e9):
        r = run_attune(a, "batches", pattern, "model=" + a.model, "pace=%d" % pace, "samples=%d" % samples)
        print("a trainer at %4d x real time: %d of %d steps waited for data, %.2f s in all of %.1f s" %
              (pace, r["starved"], r["steps"], r["waited_s"], r["seconds"]))
    bucket.line(0, 0)


def main():
    a = arguments()
    if a.peer:
        run_peer(json.loads(a.peer))
        return
    a.work = os.path.abspath(a.work)
    os.makedirs(a.work, exist_ok=True)
    names = [n for n in a.peers.split(",") if n]
    results = {TITLES[n]: [] for n in names}
    results.update({"attune": [], "attune, with indexes": []})
    with Bucket(a) as bucket:
        for k in range(a.repeats):
            for n in names:
                results[TITLES[n]].append(ask_peer(a, bucket, n))
                check(n, results[TITLES[n]][-1], bucket.facts)
                print("round %d: %s %s" % (k + 1, n, json.dumps(results[TITLES[n]][-1])), file=sys.stderr)
            for title, folder in (("attune", "tar"), ("attune, with indexes", "indexed/tar")):
                results[title].append(attune_all(a, folder))
                check(title, results[title][-1], bucket.facts)
                print("round %d: %s %s" % (k + 1, title, json.dumps(results[title][-1])), file=sys.stderr)
        report(a, bucket.facts, results)
        report_many(a, bucket)
        report_alone(a, bucket)


if __name__ == "__main__":
    main()
