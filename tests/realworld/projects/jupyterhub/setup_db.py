from jupyterhub import orm


def create(url):
    orm.new_session_factory(url)().close()
