# Label Studio from its package, in the versions it was tested with. Build from the root of the repository:
#   docker build -f docker/label-studio.Dockerfile -t glacier-al-label-studio .
FROM python:3.11-slim
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
COPY locks/label-studio.txt /tmp/
RUN pip install --no-deps --require-hashes -r /tmp/label-studio.txt
RUN useradd --uid 1000 --create-home glacier && install -d -o glacier -g glacier /var/lib/label-studio
COPY docker/label-studio.sh /opt/glacier-al/
ENV PYTHONUNBUFFERED=1
USER glacier
WORKDIR /var/lib/label-studio
CMD ["sh", "/opt/glacier-al/label-studio.sh"]
