"""The little of curl that the pages use, for machines that have none."""

import argparse
import sys

import httpx

parser = argparse.ArgumentParser(prog="curl")
parser.add_argument("url")
parser.add_argument("-i", dest="headers_too", action="store_true")
parser.add_argument("-s", action="store_true")
parser.add_argument("-X", dest="method", default="GET")
parser.add_argument("-H", dest="headers", action="append", default=[])
parser.add_argument("-o", dest="output")
parser.add_argument("-w", dest="after", default="")


def main() -> None:
    given = parser.parse_args()
    headers = dict(header.split(": ", 1) for header in given.headers)
    answer = httpx.request(given.method, given.url, headers=headers, trust_env=False, timeout=30)
    body = answer.text
    if given.headers_too:
        fields = [f"{name}: {value}" for name, value in answer.headers.items()]
        body = "\n".join([f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}", *fields, "", body])
    if given.output is None:
        sys.stdout.write(body)
    sys.stdout.write(given.after.replace("%{http_code}", str(answer.status_code)).replace("\\n", "\n"))


if __name__ == "__main__":
    main()
