"""The Open Inference Protocol, version 2, over gRPC. It needs the packages of the extra ``grpc``."""
