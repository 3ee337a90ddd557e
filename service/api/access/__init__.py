"""Who may ask, from where and how often: keys, quotas, origins, proxies."""
